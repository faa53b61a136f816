#include "engine/scheduling/sequence.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "kernels/dcheck.h"

namespace retnet {
namespace {

std::vector<TokenId> Ascending(std::vector<TokenId> tokens) {
  std::sort(tokens.begin(), tokens.end());
  return tokens;
}

LogitEdits EditsOf(const Request& request, std::span<const TokenId> prompt,
                   std::span<const TokenId> stop_tokens) {
  if (request.kind != RequestKind::kGenerate) return LogitEdits({}, {}, {});
  if (request.min_tokens == 0) stop_tokens = {};
  return LogitEdits(request.sampling, prompt, /*banned=*/stop_tokens);
}

SampleRequest SampleQueryOf(const Request& request) {
  SampleRequest query;
  query.sampling.temperature = request.sampling.temperature;
  query.sampling.top_k = request.sampling.top_k;
  query.sampling.top_p = request.sampling.top_p;
  query.sampling.min_p = request.sampling.min_p;
  query.sampling.seed = request.sampling.seed;
  query.logprob = request.logprobs;
  query.top_logprobs = request.top_logprobs;
  return query;
}

SampleRequest ScoreQueryOf(TokenId given, const Request& request) {
  SampleRequest query;
  query.scored_token = given;
  query.logprob = true;
  query.top_logprobs = request.top_logprobs;
  return query;
}

bool HasNoToken(const SampleResult& result) { return result.token == kNoToken; }

}  // namespace

Sequence::Sequence(Request request, std::shared_ptr<TokenSink> sink, int32_t context_length,
                   absl::Time submitted)
    : request_(std::move(request)),
      sink_(std::move(sink)),
      submitted_(submitted),
      context_length_(context_length),
      prompt_tokens_(static_cast<int32_t>(request_.prompt.size())),
      max_output_(std::min(request_.max_tokens, context_length - prompt_tokens_)),
      stop_tokens_(Ascending(std::move(request_.stop_token_ids))),
      lookup_(request_.max_draft_tokens),
      edits_(EditsOf(request_, request_.prompt, stop_tokens_)),
      query_(SampleQueryOf(request_)) {
  history_ = TokenHistory(std::move(request_.prompt), /*class_runs=*/{});
  if (!has_session()) FinishIfNothingIsLeft(submitted);
}

void Sequence::PutFirst(std::span<const TokenId> head) {
  if (head.empty()) return;
  TokenHistory history({head.begin(), head.end()}, /*class_runs=*/{});
  history.Append(history_.tokens(), RowClass::kPrompt);
  history_ = std::move(history);
  const auto added = static_cast<int32_t>(head.size());
  prompt_tokens_ += added;
  for (int32_t& boundary : request_.cache_boundaries) boundary += added;
}

absl::Status Sequence::Continue(TokenHistory* session, StatePrefix* state) {
  PromptHead head;
  if (request_.head) head = request_.head(*session);
  PutFirst(head.prompt);
  // A score leaves the session as it is and so may add to its copy.
  if (kind() != RequestKind::kScore) {
    PutFirst(head.history);
  } else {
    session->Append(head.history, RowClass::kPrompt);
  }
  const int64_t tokens = int64_t{session->size()} + prompt_tokens_;
  if (kind() != RequestKind::kScore && tokens >= context_length_) {
    return absl::InvalidArgumentError(
        absl::StrCat("the session has ", session->size(), " tokens and the prompt ", prompt_tokens_,
                     "; together they must have fewer than the context length, ", context_length_));
  }
  if (tokens == 0) {
    return absl::InvalidArgumentError(
        "the prompt has 0 tokens and so has the session; together they must have at least 1");
  }
  session_cut_ = session->cut();
  session->Append(history_.tokens(), RowClass::kPrompt);
  history_ = std::exchange(*session, TokenHistory());
  state_ = std::exchange(*state, {});
  session_tokens_ = static_cast<int32_t>(tokens) - prompt_tokens_;
  prompt_tokens_ = static_cast<int32_t>(tokens);
  max_output_ = std::min(request_.max_tokens, context_length_ - prompt_tokens_);
  if (request_.sampling.repetition_penalty != 1.0f) {
    edits_ = EditsOf(request_, history_.tokens(), stop_tokens_);
  }
  continued_ = true;
  FinishIfNothingIsLeft(submitted_);
  if (stops_) End(absl::OkStatus(), submitted_);
  CheckInvariants();
  return absl::OkStatus();
}

bool Sequence::StopWhenContinued() {
  stops_ = has_session() && !continued_;
  return stops_;
}

int32_t Sequence::most_resumed() const {
  if (computed_ > 0) return computed_;  // it has given up its slot: the outputs behind are given
  if (kind() == RequestKind::kScore) return std::max(session_tokens_, 1) - 1;
  return history_.size() - 1;
}

void Sequence::Start(SlotId slot, int32_t position) {
  RETNET_DCHECK(slot != kNoSlot && slot_ == kNoSlot);
  RETNET_DCHECK(position <= most_resumed());
  slot_ = slot;
  if (computed_ == 0) completion_.usage.cached_tokens = position;
  computed_ = scheduled_tokens_ = position;
  FinishIfNothingIsLeft(submitted_);
  CheckInvariants();
}

TokenHistory Sequence::TakeHistory() {
  if (!completion_.status.ok()) {
    const int32_t computed = computed_ == 0 ? 0 : computed_ + 1;
    history_.Truncate(std::min(std::max(computed, session_tokens_), history_.size()));
    if (history_.size() == session_tokens_) history_.set_cut(session_cut_);
  } else if (stop_.dropped_tokens > 0) {
    RETNET_DCHECK(stop_.dropped_tokens <= output_tokens());
    history_.Truncate(history_.size() - stop_.dropped_tokens);
    history_.set_cut(stop_.cut);
  }
  return std::move(history_);
}

bool Sequence::PassCut() {
  const auto first_ahead = std::upper_bound(cuts_.begin(), cuts_.end(), computed_);
  const bool passed = first_ahead != cuts_.begin() && *(first_ahead - 1) == computed_;
  cuts_.erase(cuts_.begin(), first_ahead);
  return passed;
}

int32_t Sequence::piece_rows() const {
  int32_t rows = std::min(rows_left(), history_.RunEnd(scheduled_tokens_) - scheduled_tokens_);
  const auto cut = std::upper_bound(cuts_.begin(), cuts_.end(), scheduled_tokens_);
  return cut == cuts_.end() ? rows : std::min(rows, *cut - scheduled_tokens_);
}

bool Sequence::ends_in_flight() const {
  if (kind() != RequestKind::kGenerate) return rows_left() <= 0;
  return samples_in_flight() && output_tokens() + 1 >= max_output_;
}

bool Sequence::awaits_step() const {
  if (scheduled_tokens_ == computed_ || ends_in_flight()) return false;
  if (std::binary_search(cuts_.begin(), cuts_.end(), scheduled_tokens_)) return true;
  return samples_in_flight() && (request_.max_draft_tokens > 0 || EditsChange());
}

bool Sequence::EditsChange() const {
  const SamplingParams& sampling = request_.sampling;
  return sampling.repetition_penalty != 1.0f || sampling.frequency_penalty != 0.0f ||
         sampling.presence_penalty != 0.0f || output_tokens() < request_.min_tokens;
}

// While edits change with the output, a guess's logits would need those of the guesses before it.
int32_t Sequence::Draft(int32_t most) {
  segment_tokens_.assign(1, samples_in_flight() ? kLastSampled : history_.tokens().back());
  if (request_.max_draft_tokens == 0 || EditsChange()) return 1;
  // A step samples one token more than it guesses.
  most = std::min(most, max_output_ - output_tokens() - 1);
  lookup_.Guess(history_.tokens(), most, &segment_tokens_);
  return static_cast<int32_t>(segment_tokens_.size());
}

Segment Sequence::NextSegment(int32_t rows, std::vector<RowOutput>* outputs) {
  RETNET_DCHECK(rows >= 1);
  const size_t first_output = outputs->size();
  Segment segment{
      .slot = slot_,
      .position = scheduled_tokens_,
      .row_class = row_class(),
      .tokens = history_.tokens().subspan(scheduled_tokens_, std::min(rows, rows_left())),
      .outputs = {}};
  if (kind() == RequestKind::kScore) {
    for (int32_t row = std::max(0, session_tokens_ - 1 - scheduled_tokens_); row < rows; ++row) {
      const TokenId given = history_[scheduled_tokens_ + row + 1];
      outputs->push_back({.row = row, .request = ScoreQueryOf(given, request_)});
    }
  } else if (kind() == RequestKind::kGenerate && rows >= rows_left()) {
    if (rows > rows_left()) segment.tokens = std::span(segment_tokens_).first(rows);
    query_.sampling.edits = edits_.edits();
    for (int32_t row = std::max(0, rows_left() - 1); row < rows; ++row) {
      // The place of the token to be sampled.
      query_.sampling.draw = static_cast<uint64_t>(scheduled_tokens_) + row + 1;
      outputs->push_back({.row = row, .request = query_});
    }
  }
  segment.outputs = std::span(*outputs).subspan(first_output);
  scheduled_tokens_ += rows;
  CheckInvariants();
  return segment;
}

void Sequence::MarkStarted(absl::Time now) { started_ = std::min(started_, now); }

size_t Sequence::Accept(int32_t rows, std::span<const SampleResult> results, absl::Time now) {
  RETNET_DCHECK(rows >= 1 && rows <= scheduled_tokens_ - computed_);
  const int32_t guesses = std::max(0, rows - RowsAfter(computed_));
  computed_ += rows - guesses;
  if (kind() != RequestKind::kGenerate || results.empty()) {
    const auto without = std::find_if(results.begin(), results.end(), HasNoToken);
    without == results.end() ? FinishIfNothingIsLeft(now) : EndWithoutResult(now);
    CheckInvariants();
    return without - results.begin();
  }
  int32_t right = 0;
  size_t taken = AcceptResult(results[0], now) ? 1 : 0;
  while (right < guesses && !finished_ && segment_tokens_[right + 1] == history_.tokens().back()) {
    ++computed_;
    if (AcceptResult(results[++right], now)) ++taken;
  }
  if (guesses > 0) scheduled_tokens_ = computed_;
  lookup_.Learn(guesses, right);
  completion_.usage.drafted_tokens += guesses;
  completion_.usage.accepted_tokens += right;
  CheckInvariants();
  return taken;
}

bool Sequence::AcceptResult(const SampleResult& result, absl::Time now) {
  if (HasNoToken(result)) {
    EndWithoutResult(now);
    return false;
  }
  AcceptToken(result.token, now);
  return true;
}

// The row is computed, but what it stands for is not known: the newest token is pending again.
void Sequence::EndWithoutResult(absl::Time now) {
  state_is_sound_ = false;
  const int32_t seen = computed_;
  computed_ = std::min(computed_, std::max(history_.size() - 1, 0));
  End(absl::InternalError(absl::StrCat(
          "the model's logits are not finite within the first ", seen,
          " tokens, so nothing can be told from them; the state is not kept, and a session "
          "computes it again from its tokens")),
      now);
}

void Sequence::AcceptToken(TokenId token, absl::Time now) {
  history_.Append(token, RowClass::kSampled);
  edits_.Count(token);
  first_token_ = std::min(first_token_, now);
  if (output_tokens() == request_.min_tokens) edits_.LiftBan();
  if (std::binary_search(stop_tokens_.begin(), stop_tokens_.end(), token)) {
    completion_.stop_token = token;
    Finish(FinishReason::kStop, now);
    return;
  }
  if (request_.stop) stop_ = request_.stop(token);
  if (stop_.stops) {
    Finish(FinishReason::kStop, now);
  } else if (output_tokens() >= max_output_) {
    Finish(FinishReason::kLength, now);
  }
}

void Sequence::End(absl::Status status, absl::Time now) {
  const FinishReason reason = status.ok()                 ? FinishReason::kStopped
                              : absl::IsCancelled(status) ? FinishReason::kCancelled
                                                          : FinishReason::kError;
  completion_.status = std::move(status);
  Finish(reason, now);
}

void Sequence::CountInFlightAsComputed() {
  computed_ = scheduled_tokens_ = std::min(scheduled_tokens_, std::max(history_.size() - 1, 0));
  CheckInvariants();
}

void Sequence::CheckInvariants() const {
  if (!kDchecks) return;
  const int32_t size = history_.size();
  const auto in_segment = static_cast<int32_t>(segment_tokens_.size());
  const int32_t most_ahead = kind() == RequestKind::kGenerate ? std::max(1, in_segment) : -1;
  RETNET_DCHECK(session_tokens_ >= 0 && session_tokens_ <= prompt_tokens_);
  RETNET_DCHECK(prompt_tokens_ <= size);
  RETNET_DCHECK(computed_ >= 0 && computed_ <= std::max(size - 1, 0));
  RETNET_DCHECK(computed_ <= scheduled_tokens_);
  RETNET_DCHECK(scheduled_tokens_ <= std::max(size + most_ahead, 0));
}

void Sequence::FinishIfNothingIsLeft(absl::Time now) {
  if (kind() == RequestKind::kGenerate || RowsAfter(computed_) > 0) return;
  Finish(FinishReason::kStop, now);
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
