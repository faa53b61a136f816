// Streams the samples of one Generate call.
#ifndef RETNET_SERVER_CALLS_TOKEN_STREAM_H_
#define RETNET_SERVER_CALLS_TOKEN_STREAM_H_

#include <cstdint>
#include <span>

#include "server/calls/chunk_queue.h"
#include "server/calls/message_stream.h"

namespace retnet {

class TokenStream : public MessageStream {
 public:
  TokenStream(Admission* admission, grpc::CallbackServerContext* context,
              const Tokenizer* tokenizer)
      : MessageStream(admission, context), chunks_(tokenizer) {}

  // Prepares for the samples of `plan`. Call this before Submit.
  void Plan(const GenerationPlan& plan);

 protected:
  void Answered(int sample, std::span<const SampleResult> answers)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) final;
  void Ended(int sample, const Completion& completion) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) final;
  bool TakeChunk(grpc::ByteBuffer* message) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) final;
  int64_t WaitingBytes() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) final { return chunks_.bytes(); }
  grpc::ByteBuffer Final() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) final;

 private:
  ChunkQueue chunks_ ABSL_GUARDED_BY(mu_);
};

}  // namespace retnet

#endif  // RETNET_SERVER_CALLS_TOKEN_STREAM_H_
