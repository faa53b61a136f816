#include "server/calls/score_stream.h"

#include <cmath>
#include <limits>
#include <string>

#include "server/calls/sample_output.h"
#include "server/wire/messages.h"

namespace retnet {
namespace {

// Both keep a chunk far below the 4 MiB that clients receive by default.
constexpr int kMaxChunkTokens = 4096;
constexpr size_t kMaxChunkBytes = 1 << 20;  // of the tokens' text

}  // namespace

void ScoreStream::Plan(const ScorePlan& plan) {
  const MutexLock lock(&mu_);
  if (plan.follows_history) {
    totals_.set_scored_bytes(plan.text_bytes);
    return;
  }
  totals_.set_scored_bytes(plan.text_bytes - plan.first_bytes);
  totals_.set_tokens(1);
  waiting_.push_back({plan.first_token, std::numeric_limits<float>::quiet_NaN()});
}

void ScoreStream::Answered(int /*sample*/, std::span<const SampleResult> answers) {
  if (broken()) return;
  for (const SampleResult& answer : answers) {
    waiting_.push_back({answer.token, answer.logprob});
    totals_.set_total_logprob(totals_.total_logprob() + answer.logprob);
  }
  const int32_t count = static_cast<int32_t>(answers.size());
  totals_.set_tokens(totals_.tokens() + count);
  totals_.set_scored_tokens(totals_.scored_tokens() + count);
  Pump();
}

void ScoreStream::Ended(int /*sample*/, const Completion& completion) {
  *totals_.mutable_timings() = ToWire(completion.timings);
}

bool ScoreStream::TakeChunk(grpc::ByteBuffer* message) {
  if (waiting_.empty()) return false;
  v1::ScoreResponse response;
  v1::ScoreResponse::Tokens* chunk = response.mutable_chunk();
  size_t text_bytes = 0;
  while (!waiting_.empty() && chunk->tokens_size() < kMaxChunkTokens &&
         text_bytes < kMaxChunkBytes) {
    const auto [token, logprob] = waiting_.front();
    waiting_.pop_front();
    v1::ScoredToken* scored = chunk->add_tokens();
    scored->set_id(token);
    if (tokenizer_ != nullptr) scored->set_token(std::string(tokenizer_->Bytes(token)));
    text_bytes += scored->token().size();
    if (!std::isnan(logprob)) scored->set_logprob(logprob);
  }
  *message = SerializeMessage(response);
  return true;
}

grpc::ByteBuffer ScoreStream::Final() {
  v1::ScoreResponse response;
  *response.mutable_totals() = std::move(totals_);
  return SerializeMessage(response);
}

}  // namespace retnet
