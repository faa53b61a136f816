#include "engine/sequence.h"

#include <algorithm>
#include <utility>

namespace retnet {
namespace {

std::vector<TokenId> Ascending(std::vector<TokenId> tokens) {
  std::sort(tokens.begin(), tokens.end());
  return tokens;
}

LogitEdits EditsOf(const Request& request, std::span<const TokenId> stop_tokens) {
  if (request.kind == RequestKind::kScore) return LogitEdits({}, {}, {});
  if (request.min_tokens == 0) stop_tokens = {};
  return LogitEdits(request.sampling, request.prompt, /*banned=*/stop_tokens);
}

LogitsQuery SampleQueryOf(const Request& request) {
  LogitsQuery query;
  query.sampling.temperature = request.sampling.temperature;
  query.sampling.top_k = request.sampling.top_k;
  query.sampling.top_p = request.sampling.top_p;
  query.sampling.min_p = request.sampling.min_p;
  query.sampling.seed = request.sampling.seed;
  query.logprob = request.logprobs;
  query.top_logprobs = request.top_logprobs;
  return query;
}

LogitsQuery ScoreQueryOf(TokenId given, const Request& request) {
  LogitsQuery query;
  query.given = given;
  query.logprob = true;
  query.top_logprobs = request.top_logprobs;
  return query;
}

}  // namespace

Sequence::Sequence(Request request, std::shared_ptr<TokenSink> sink, int32_t context_length,
                   absl::Time submitted)
    : request_(std::move(request)),
      sink_(std::move(sink)),
      submitted_(submitted),
      prompt_tokens_(static_cast<int32_t>(request_.prompt.size())),
      max_output_(std::min(request_.max_tokens, context_length - prompt_tokens_)),
      stop_tokens_(Ascending(std::move(request_.stop_token_ids))),
      edits_(EditsOf(request_, stop_tokens_)),
      query_(SampleQueryOf(request_)) {
  history_ = std::move(request_.prompt);
  if (kind() == RequestKind::kScore && rows_left() == 0) Finish(FinishReason::kStop, submitted);
}

Segment Sequence::NextSegment(int32_t rows, std::vector<RowOutput>* outputs) {
  const size_t first_output = outputs->size();
  if (kind() == RequestKind::kScore) {
    for (int32_t row = 0; row < rows; ++row) {
      const TokenId given = history_[computed_ + row + 1];
      outputs->push_back({.row = row, .query = ScoreQueryOf(given, request_)});
    }
  } else if (rows == rows_left()) {
    query_.sampling.draw = history_.size();  // the place of the token to be sampled
    query_.sampling.edits = edits_.edits();
    outputs->push_back({.row = rows - 1, .query = query_});
  }
  return {.slot = slot_,
          .position = computed_,
          .row_class = decoding() ? RowClass::kSampled : RowClass::kGiven,
          .tokens = std::span(history_).subspan(computed_, rows),
          .outputs = std::span(*outputs).subspan(first_output)};
}

void Sequence::MarkStarted(absl::Time now) { started_ = std::min(started_, now); }

void Sequence::Accept(int32_t rows, std::span<const LogitsAnswer> answers, absl::Time now) {
  computed_ += rows;
  if (kind() == RequestKind::kScore) {
    if (rows_left() == 0) Finish(FinishReason::kStop, now);
  } else if (!answers.empty()) {
    AcceptToken(answers.front().token, now);
  }
}

void Sequence::AcceptToken(TokenId token, absl::Time now) {
  history_.push_back(token);
  edits_.Count(token);
  first_token_ = std::min(first_token_, now);
  if (output_tokens() == request_.min_tokens) edits_.LiftBan();
  if (std::binary_search(stop_tokens_.begin(), stop_tokens_.end(), token)) {
    completion_.stop_token = token;
    Finish(FinishReason::kStop, now);
  } else if (request_.stop && request_.stop(token)) {
    Finish(FinishReason::kStop, now);
  } else if (output_tokens() >= max_output_) {
    Finish(FinishReason::kLength, now);
  }
}

void Sequence::End(absl::Status status, absl::Time now) {
  const bool cancelled = absl::IsCancelled(status);
  completion_.status = std::move(status);
  Finish(cancelled ? FinishReason::kCancelled : FinishReason::kError, now);
}

void Sequence::Finish(FinishReason reason, absl::Time now) {
  finished_ = true;
  completion_.reason = reason;
  completion_.usage.prompt_tokens = prompt_tokens_;
  completion_.usage.completion_tokens = output_tokens();
  Timings& timings = completion_.timings;
  timings.queued = std::min(started_, now) - submitted_;
  if (started_ <= now) timings.prefill = std::min(first_token_, now) - started_;
  if (first_token_ <= now) timings.decode = now - first_token_;
}

}  // namespace retnet
