// The service retnet.v1.Generation: from a request's bytes to the engine and back.
#ifndef RETNET_SERVER_GENERATION_SERVICE_H_
#define RETNET_SERVER_GENERATION_SERVICE_H_

#include <functional>
#include <memory>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "engine/engine.h"
#include "kernels/serial_executor.h"
#include "retnet/v1/generation.grpc.pb.h"
#include "server/calls/admission.h"
#include "server/calls/engine_call.h"
#include "server/wire/request_translation.h"

namespace retnet {

// Every method takes and gives raw bytes: see ParseMessage.
using RawGeneration =
    v1::Generation::WithRawCallbackMethod_Generate<v1::Generation::WithRawCallbackMethod_Complete<
        v1::Generation::WithRawCallbackMethod_Score<v1::Generation::WithRawCallbackMethod_Converse<
            v1::Generation::WithRawCallbackMethod_Tokenize<
                v1::Generation::WithRawCallbackMethod_Detokenize<
                    v1::Generation::WithRawCallbackMethod_GetModel<v1::Generation::Service>>>>>>>;

// Thread-safe. `access`, the tokenizer and `admission` must outlive the service. The service must
// outlive every call.
class GenerationService final : public RawGeneration {
 public:
  GenerationService(ServedModel model, EngineAccess access, Admission* admission);

  grpc::ServerWriteReactor<grpc::ByteBuffer>* Generate(grpc::CallbackServerContext* context,
                                                       const grpc::ByteBuffer* bytes) override;
  grpc::ServerUnaryReactor* Complete(grpc::CallbackServerContext* context,
                                     const grpc::ByteBuffer* bytes,
                                     grpc::ByteBuffer* answer) override;
  grpc::ServerWriteReactor<grpc::ByteBuffer>* Score(grpc::CallbackServerContext* context,
                                                    const grpc::ByteBuffer* bytes) override;
  grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>* Converse(
      grpc::CallbackServerContext* context) override;
  grpc::ServerUnaryReactor* Tokenize(grpc::CallbackServerContext* context,
                                     const grpc::ByteBuffer* bytes,
                                     grpc::ByteBuffer* answer) override;
  grpc::ServerUnaryReactor* Detokenize(grpc::CallbackServerContext* context,
                                       const grpc::ByteBuffer* bytes,
                                       grpc::ByteBuffer* answer) override;
  grpc::ServerUnaryReactor* GetModel(grpc::CallbackServerContext* context,
                                     const grpc::ByteBuffer* bytes,
                                     grpc::ByteBuffer* answer) override;

 private:
  // Where a request of this size is read and tokenized; null: on this thread. Long texts take turns
  // on a worker: each tokenizes a part, some milliseconds long, and lines up again.
  SerialExecutor* WorkerFor(size_t request_bytes);
  // A call whose message is being read and whose text is being tokenized.
  template <typename Wire, typename Plan>
  struct Arrival;
  // The way of a message: its share of the texts' budget, then Read on the right thread, then
  // Tokenize until the plan is complete.
  template <typename Wire, typename Plan>
  void Receive(const grpc::ByteBuffer* bytes, std::shared_ptr<Arrival<Wire, Plan>> arrival);
  template <typename Wire, typename Plan>
  void Read(const grpc::ByteBuffer* bytes, std::shared_ptr<Arrival<Wire, Plan>> arrival);
  template <typename Wire, typename Plan>
  void Tokenize(std::shared_ptr<Arrival<Wire, Plan>> arrival);
  // Takes the memory of the prompt's tokens so far out of the budget; RESOURCE_EXHAUSTED.
  template <typename Wire, typename Plan>
  absl::Status HoldTokens(Arrival<Wire, Plan>* arrival);
  // Creates or looks up the session if the call needs that, then calls `submit` with it; without
  // needs, with an empty SessionInfo. Refuses the call when the engine says why not.
  void PrepareSession(const SessionNeeds& needs, const SessionKey& session,
                      std::shared_ptr<EngineCall> call,
                      std::function<void(const SessionInfo&)> submit);
  // Makes a plan of a request message; INVALID_ARGUMENT or FAILED_PRECONDITION.
  template <typename Wire, typename Plan>
  using Translation = absl::StatusOr<Plan> (*)(const Wire& request, const ServedModel& model);
  // Submits what was planned, once its session is as it needs it.
  template <typename Plan>
  using Submission = std::function<void(Plan& plan, const SessionInfo& session)>;
  // The way of a call that runs on the engine, from its bytes to `submit`; a failure on it refuses
  // the call.
  template <typename Call, typename Wire, typename Plan>
  void Begin(grpc::CallbackServerContext* context, const grpc::ByteBuffer* bytes,
             std::shared_ptr<Call> call, Translation<Wire, Plan> translate,
             Submission<Plan> submit);
  // The same for Generate and Complete, which differ in how they answer.
  template <typename Call>
  void BeginGeneration(grpc::CallbackServerContext* context, const grpc::ByteBuffer* bytes,
                       std::shared_ptr<Call> call);
  // Of calls that neither engine nor tokenizer have a part in: `make_result` fills the response
  // message. `advice` is for one that a client would not receive: see CheckAnswerBytes.
  template <typename Wire, typename Response>
  grpc::ServerUnaryReactor* Answer(grpc::CallbackServerContext* context,
                                   const grpc::ByteBuffer* bytes, grpc::ByteBuffer* answer,
                                   absl::string_view advice,
                                   std::function<absl::Status(const Wire&, Response*)> make_result);

  const ServedModel model_;
  const EngineAccess access_;
  Engine* const engine_;
  Admission* const admission_;
  TextBudget text_budget_;  // before the workers, whose tasks hold shares
  // For what would keep gRPC's few threads too long: reading and tokenizing large requests. A
  // prompt of pages does not take turns with books.
  SerialExecutor medium_requests_;
  SerialExecutor large_requests_;
  SerialExecutor conversations_;
};

}  // namespace retnet

#endif  // RETNET_SERVER_GENERATION_SERVICE_H_
