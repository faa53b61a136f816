// Streams the results of one Score call.
#ifndef RETNET_SERVER_CALLS_SCORE_STREAM_H_
#define RETNET_SERVER_CALLS_SCORE_STREAM_H_

#include <cstdint>
#include <deque>
#include <optional>
#include <span>
#include <utility>

#include "models/tokenizer.h"
#include "server/calls/message_stream.h"
#include "server/wire/request_translation.h"

namespace retnet {

// Waiting results take a few bytes a token.
class ScoreStream : public MessageStream {
 public:
  ScoreStream(Admission* admission, grpc::CallbackServerContext* context,
              const Tokenizer* tokenizer)
      : MessageStream(admission, context), tokenizer_(tokenizer) {}

  // Call this before Submit.
  void Plan(const ScorePlan& plan);

 protected:
  void Answered(int sample, std::span<const SampleResult> answers)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) final;
  void Ended(int sample, const Completion& completion) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) final;
  bool TakeChunk(grpc::ByteBuffer* message) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) final;
  int64_t WaitingBytes() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) final {
    return static_cast<int64_t>(waiting_.size() * sizeof(TokenLogprob));
  }
  grpc::ByteBuffer Final() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) final;

 private:
  const Tokenizer* tokenizer_;
  std::deque<TokenLogprob> waiting_ ABSL_GUARDED_BY(mu_);  // logprob NaN: there is none
  v1::ScoreResponse::Totals totals_ ABSL_GUARDED_BY(mu_);
};

}  // namespace retnet

#endif  // RETNET_SERVER_CALLS_SCORE_STREAM_H_
