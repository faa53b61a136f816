// Streams the samples of one Generate call.
#ifndef RETNET_SERVER_TOKEN_STREAM_H_
#define RETNET_SERVER_TOKEN_STREAM_H_

#include <deque>
#include <vector>

#include "server/message_stream.h"
#include "server/sample_output.h"

namespace retnet {

// A chunk waits until the one before it is written, and meanwhile grows by the tokens that follow,
// up to a bound; so memory is bounded by max_tokens.
class TokenStream : public MessageStream {
 public:
  TokenStream(OpenCalls* open_calls, const Tokenizer* tokenizer)
      : MessageStream(open_calls), tokenizer_(tokenizer) {}

  // Before Submit: what the samples are.
  void Plan(const GenerationPlan& plan);

 protected:
  void Answered(int sample, std::span<const LogitsAnswer> answers) final;
  void Ended(int sample, const Completion& completion) final;
  bool TakeChunk(grpc::ByteBuffer* message) final;
  grpc::ByteBuffer Final() final;

 private:
  struct Sample {
    SampleOutput output;
    v1::TokenChunk* open = nullptr;  // its newest chunk in waiting_, if there is one
  };
  v1::TokenChunk* OpenChunk(int sample);

  const Tokenizer* tokenizer_;
  int32_t prompt_tokens_ = 0;  // guarded by mu_, as all below
  std::vector<Sample> samples_;
  std::deque<v1::TokenChunk> waiting_;
  v1::GenerateResponse::Final final_;
};

}  // namespace retnet

#endif  // RETNET_SERVER_TOKEN_STREAM_H_
