// The service retnet.v1.Sessions: from a request's bytes to the engine's session calls and back.
#ifndef RETNET_SERVER_SESSION_SERVICE_H_
#define RETNET_SERVER_SESSION_SERVICE_H_

#include <functional>
#include <string>

#include "absl/status/status.h"
#include "engine/engine.h"
#include "engine/session.h"
#include "kernels/serial_executor.h"
#include "retnet/v1/sessions.grpc.pb.h"
#include "server/calls/admission.h"

namespace retnet {

// Every method takes and gives raw bytes: see ParseMessage.
using RawSessions = v1::Sessions::WithRawCallbackMethod_Create<
    v1::Sessions::WithRawCallbackMethod_Get<v1::Sessions::WithRawCallbackMethod_List<
        v1::Sessions::WithRawCallbackMethod_Fork<v1::Sessions::WithRawCallbackMethod_Rewind<
            v1::Sessions::WithRawCallbackMethod_Delete<v1::Sessions::WithRawCallbackMethod_Export<
                v1::Sessions::WithRawCallbackMethod_Import<v1::Sessions::Service>>>>>>>>;

// Thread-safe. Engine and admission must outlive the service. The service must outlive every call.
class SessionService final : public RawSessions {
 public:
  SessionService(Engine* engine, Admission* admission) : engine_(engine), admission_(admission) {}

  grpc::ServerUnaryReactor* Create(grpc::CallbackServerContext* context,
                                   const grpc::ByteBuffer* bytes,
                                   grpc::ByteBuffer* answer) override;
  grpc::ServerUnaryReactor* Get(grpc::CallbackServerContext* context, const grpc::ByteBuffer* bytes,
                                grpc::ByteBuffer* answer) override;
  grpc::ServerUnaryReactor* List(grpc::CallbackServerContext* context,
                                 const grpc::ByteBuffer* bytes, grpc::ByteBuffer* answer) override;
  grpc::ServerUnaryReactor* Fork(grpc::CallbackServerContext* context,
                                 const grpc::ByteBuffer* bytes, grpc::ByteBuffer* answer) override;
  grpc::ServerUnaryReactor* Rewind(grpc::CallbackServerContext* context,
                                   const grpc::ByteBuffer* bytes,
                                   grpc::ByteBuffer* answer) override;
  grpc::ServerUnaryReactor* Delete(grpc::CallbackServerContext* context,
                                   const grpc::ByteBuffer* bytes,
                                   grpc::ByteBuffer* answer) override;
  grpc::ServerWriteReactor<grpc::ByteBuffer>* Export(grpc::CallbackServerContext* context,
                                                     const grpc::ByteBuffer* bytes) override;
  grpc::ServerReadReactor<grpc::ByteBuffer>* Import(grpc::CallbackServerContext* context,
                                                    grpc::ByteBuffer* answer) override;

 private:
  // A unary call. `begin` gives the request to the engine with a reply that ends the call, or
  // returns why it cannot. `describe` fills the response message.
  template <typename Wire, typename Result, typename Response>
  grpc::ServerUnaryReactor* Call(
      grpc::CallbackServerContext* context, const grpc::ByteBuffer* bytes, grpc::ByteBuffer* answer,
      std::function<absl::Status(const Wire&, const std::string& owner, Reply<Result>)> begin,
      std::function<void(const Result&, Response*)> describe);

  // A unary call on an existing session, carried out by Engine's `kMethod`.
  template <typename Wire, auto kMethod>
  grpc::ServerUnaryReactor* CallOnSession(grpc::CallbackServerContext* context,
                                          const grpc::ByteBuffer* bytes, grpc::ByteBuffer* answer);

  Engine* const engine_;
  Admission* const admission_;
  SerialExecutor snapshots_;  // encodes and decodes snapshots
};

}  // namespace retnet

#endif  // RETNET_SERVER_SESSION_SERVICE_H_
