// The service retnet.v1.Generation: from a request's bytes to the engine and back.
#ifndef RETNET_SERVER_GENERATION_SERVICE_H_
#define RETNET_SERVER_GENERATION_SERVICE_H_

#include <atomic>
#include <functional>

#include "absl/status/status.h"
#include "engine/engine.h"
#include "retnet/v1/generation.grpc.pb.h"
#include "server/open_calls.h"
#include "server/request_translation.h"
#include "server/worker.h"

namespace retnet {

// Every method takes and gives raw bytes: see ParseMessage.
using RawGeneration =
    v1::Generation::WithRawCallbackMethod_Generate<v1::Generation::WithRawCallbackMethod_Complete<
        v1::Generation::WithRawCallbackMethod_Score<v1::Generation::WithRawCallbackMethod_Tokenize<
            v1::Generation::WithRawCallbackMethod_Detokenize<
                v1::Generation::WithRawCallbackMethod_GetModel<v1::Generation::Service>>>>>>;

// Thread-safe. Engine and tokenizer must outlive it, and it every call.
class GenerationService final : public RawGeneration {
 public:
  // `model_failed` is called, on any thread, when a call finds the engine unhealthy.
  GenerationService(ServedModel model, Engine* engine, std::function<void()> model_failed);

  // Answers every later call with UNAVAILABLE.
  void Refuse() { refusing_ = true; }
  // Calls that run on the engine, until their last byte is written.
  OpenCalls& open_calls() { return open_calls_; }

  grpc::ServerWriteReactor<grpc::ByteBuffer>* Generate(grpc::CallbackServerContext* context,
                                                       const grpc::ByteBuffer* bytes) override;
  grpc::ServerUnaryReactor* Complete(grpc::CallbackServerContext* context,
                                     const grpc::ByteBuffer* bytes,
                                     grpc::ByteBuffer* answer) override;
  grpc::ServerWriteReactor<grpc::ByteBuffer>* Score(grpc::CallbackServerContext* context,
                                                    const grpc::ByteBuffer* bytes) override;
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
  // Runs the task here, or on a worker where a request of so many bytes takes long.
  void Dispatch(size_t request_bytes, std::function<void()> task);
  // Parses bytes into `request` unless calls are refused.
  absl::Status Read(const grpc::ByteBuffer& bytes, google::protobuf::Message* request) const;
  // Of Generate and Complete.
  template <typename Call>
  void BeginGeneration(grpc::CallbackServerContext* context, const grpc::ByteBuffer* bytes,
                       std::shared_ptr<Call> call);
  // Of calls that the engine has no part in: `make_answer` fills the response message.
  template <typename Wire, typename Response>
  grpc::ServerUnaryReactor* Answer(grpc::CallbackServerContext* context,
                                   const grpc::ByteBuffer* bytes, grpc::ByteBuffer* answer,
                                   std::function<absl::Status(const Wire&, Response*)> make_answer);

  const ServedModel model_;
  Engine* const engine_;
  const std::function<void()> model_failed_;
  std::atomic<bool> refusing_ = false;
  OpenCalls open_calls_;
  // A prompt of pages does not wait behind books.
  Worker medium_requests_;
  Worker large_requests_;
};

}  // namespace retnet

#endif  // RETNET_SERVER_GENERATION_SERVICE_H_
