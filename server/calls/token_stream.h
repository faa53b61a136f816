// Streams the samples of one Generate call.
#ifndef RETNET_SERVER_CALLS_TOKEN_STREAM_H_
#define RETNET_SERVER_CALLS_TOKEN_STREAM_H_

#include <span>

#include "server/calls/chunk_queue.h"
#include "server/calls/message_stream.h"

namespace retnet {

class TokenStream : public MessageStream {
 public:
  TokenStream(InFlightCalls* in_flight_calls, const Tokenizer* tokenizer)
      : MessageStream(in_flight_calls), chunks_(tokenizer) {}

  // Prepares for the samples of `plan`. Call this before Submit.
  void Plan(const GenerationPlan& plan);

 protected:
  void Answered(int sample, std::span<const SampleResult> answers)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) final;
  void Ended(int sample, const Completion& completion) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) final;
  bool TakeChunk(grpc::ByteBuffer* message) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) final;
  grpc::ByteBuffer Final() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) final;

 private:
  ChunkQueue chunks_ ABSL_GUARDED_BY(mu_);
};

}  // namespace retnet

#endif  // RETNET_SERVER_CALLS_TOKEN_STREAM_H_
