// Streams the answers of one Score call.
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

// What waits for its reader takes a few bytes a token.
class ScoreStream : public MessageStream {
 public:
  ScoreStream(InFlightCalls* in_flight_calls, const Tokenizer* tokenizer)
      : MessageStream(in_flight_calls), tokenizer_(tokenizer) {}

  // Before Submit.
  void Plan(const ScorePlan& plan);

 protected:
  void Answered(int sample, std::span<const SampleResult> answers) final;
  void Ended(int sample, const Completion& completion) final;
  bool TakeChunk(grpc::ByteBuffer* message) final;
  grpc::ByteBuffer Final() final;

 private:
  const Tokenizer* tokenizer_;
  std::deque<TokenLogprob> waiting_;  // guarded by mu_, as all below; NaN: none
  v1::ScoreResponse::Totals totals_;
};

}  // namespace retnet

#endif  // RETNET_SERVER_CALLS_SCORE_STREAM_H_
