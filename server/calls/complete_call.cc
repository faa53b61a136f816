#include "server/calls/complete_call.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/calls/end_call.h"
#include "server/calls/unary_call.h"
#include "server/text/text_limits.h"
#include "server/wire/messages.h"

namespace retnet {
namespace {

constexpr char kAdvice[] =
    "ask for fewer tokens (max_tokens), samples (n) or top_logprobs, or use Generate, which "
    "streams";
// What precedes a token in the message: its tag and its length.
constexpr size_t kTokenHead = 4;
// Of a token that has no text, and of a candidate for it; zeros are not sent.
constexpr int64_t kLeastTokenBytes = 4;
constexpr int64_t kLeastCandidateBytes = 2;

// The fewest tokens that a sample has, whatever the model says.
int64_t LeastTokens(const GenerationPlan& plan, int32_t context_length) {
  const Request& request = plan.request;
  if (!request.session.id.empty()) return 0;  // its history may leave no room for more
  const bool may_stop = !request.stop_token_ids.empty() || !plan.text_stops.strings.empty();
  const auto room = context_length - static_cast<int64_t>(request.prompt.size());
  return std::min<int64_t>(may_stop ? request.min_tokens : request.max_tokens, room);
}

}  // namespace

absl::Status CompleteCall::CheckLeastAnswer(const GenerationPlan& plan, int32_t context_length) {
  const int64_t token = kLeastTokenBytes + kLeastCandidateBytes * plan.request.top_logprobs;
  const int64_t bytes = LeastTokens(plan, context_length) * plan.samples * token;
  if (bytes <= static_cast<int64_t>(kMaxAnswerBytes)) return absl::OkStatus();
  return absl::ResourceExhaustedError(absl::StrCat("the answer would have at least ", bytes,
                                                   " bytes; a client receives ", kMaxAnswerBytes,
                                                   " by default: ", kAdvice));
}

void CompleteCall::Plan(const GenerationPlan& plan) {
  const MutexLock lock(&mu_);
  response_.set_session_id(KeptSession(plan.request));
  response_.set_seed(plan.request.sampling.seed);
  for (int32_t i = 0; i < plan.samples; ++i) {
    samples_.emplace_back(plan, tokenizer_);
    response_.add_choices();
  }
}

void CompleteCall::Answered(int sample, std::span<const SampleResult> answers) {
  v1::CompleteResponse::Choice* choice = response_.mutable_choices(sample);
  for (const SampleResult& answer : answers) {
    v1::Token token = samples_[sample].Accept(answer);
    choice->mutable_text()->append(token.text());
    Count(token.ByteSizeLong() + kTokenHead + token.text().size(), HeldBytes(token));
    *choice->add_tokens() = std::move(token);
  }
}

void CompleteCall::Count(size_t wire_bytes, int64_t held_bytes) {
  wire_bytes_ += wire_bytes;
  held_bytes_ += held_bytes;
  unread_.Set(this, held_bytes_);
  // Roughly, so that few steps are computed in vain; CheckAnswer is exact.
  if (wire_bytes_ > kMaxAnswerBytes + kMaxAnswerBytes / 8) {
    FailSamples(CheckAnswerBytes(wire_bytes_, kAdvice));
  }
}

void CompleteCall::Ended(int sample, const Completion& completion) {
  v1::CompleteResponse::Choice* choice = response_.mutable_choices(sample);
  choice->mutable_text()->append(samples_[sample].Flush(completion));
  *choice->mutable_finish() = samples_[sample].Finish(sample, completion);
  AddUsage(completion.usage, response_.mutable_usage());
  if (!response_.session_id().empty()) response_.set_session_tokens(completion.session_tokens);
}

absl::Status CompleteCall::CheckAnswer() {
  return CheckAnswerBytes(response_.ByteSizeLong(), kAdvice);
}

void CompleteCall::AllEnded(const absl::Status& status) {
  const absl::Status end = unread_status_.ok() ? status : unread_status_;
  if (end.ok()) *message_ = SerializeMessage(response_);
  response_.Clear();
  samples_.clear();
  unread_.Set(this, end.ok() ? static_cast<int64_t>(message_->Length()) : 0);
  Finish(ToGrpcStatus(end));
}

void CompleteCall::OnDone() {
  {
    const MutexLock lock(&mu_);
    unread_.Close();
  }
  Close();
}

void CompleteCall::EndUnread(const absl::Status& status) {
  const MutexLock lock(&mu_);
  if (!open()) return;
  unread_status_ = status;
  EndCall(context_, status);
}

}  // namespace retnet
