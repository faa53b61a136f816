#include "server/calls/complete_call.h"

#include <utility>

#include "server/wire/messages.h"

namespace retnet {

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
    *choice->add_tokens() = std::move(token);
  }
}

void CompleteCall::Ended(int sample, const Completion& completion) {
  v1::CompleteResponse::Choice* choice = response_.mutable_choices(sample);
  choice->mutable_text()->append(samples_[sample].Flush(completion));
  *choice->mutable_finish() = samples_[sample].Finish(sample, completion);
  AddUsage(completion.usage, response_.mutable_usage());
  if (!response_.session_id().empty()) response_.set_session_tokens(completion.session_tokens);
}

void CompleteCall::AllEnded(const absl::Status& status) {
  if (status.ok()) *message_ = SerializeMessage(response_);
  Finish(ToGrpcStatus(status));
}

}  // namespace retnet
