#include "server/calls/sample_output.h"

#include <algorithm>
#include <string_view>

#include "absl/time/time.h"

namespace retnet {

SampleOutput::SampleOutput(const GenerationPlan& plan, const Tokenizer* tokenizer)
    : tokenizer_(tokenizer),
      text_(tokenizer, plan.text_stops, plan.begun),
      logprobs_(plan.request.logprobs),
      keeps_session_(!KeptSession(plan.request).empty()) {
  if (plan.text_stops.include) return;
  silent_tokens_ = plan.request.stop_token_ids;
  std::sort(silent_tokens_.begin(), silent_tokens_.end());
}

std::string SampleOutput::Flush(const Completion& completion) {
  return text_.Flush(/*goes_on=*/keeps_session_ && completion.stop_token == kNoToken);
}

v1::Token SampleOutput::Accept(const SampleResult& answer) {
  v1::Token token;
  token.set_id(answer.token);
  if (std::binary_search(silent_tokens_.begin(), silent_tokens_.end(), answer.token)) {
    text_.PushSilent();
  } else {
    token.set_text(text_.Push(answer.token));
  }
  token.set_completion_tokens(text_.tokens());
  if (!logprobs_) return token;
  token.set_logprob(answer.logprob);
  for (const TokenLogprob& candidate : answer.top) {
    v1::TokenLogprob* top = token.add_top_logprobs();
    top->set_id(candidate.token);
    top->set_logprob(candidate.logprob);
    if (tokenizer_ != nullptr) top->set_token(std::string(tokenizer_->Bytes(candidate.token)));
  }
  return token;
}

namespace {

v1::FinishReason ToWire(FinishReason reason) {
  switch (reason) {
    case FinishReason::kStop:
      return v1::FINISH_REASON_STOP;
    case FinishReason::kStopped:
      return v1::FINISH_REASON_STOPPED;
    default:
      return v1::FINISH_REASON_LENGTH;
  }
}

}  // namespace

v1::Finish SampleOutput::Finish(int32_t index, const Completion& completion) const {
  v1::Finish finish;
  finish.set_index(index);
  finish.set_reason(ToWire(completion.reason));
  if (completion.stop_token != kNoToken) {
    finish.set_stop_token_id(completion.stop_token);
  } else if (text_.stopped()) {
    finish.set_stop_string(text_.stop_string());
  }
  finish.set_completion_tokens(completion.usage.completion_tokens);
  *finish.mutable_timings() = ToWire(completion.timings);
  return finish;
}

int64_t HeldBytes(const v1::Token& token) {
  constexpr size_t kString = sizeof(std::string) + 16;  // and what the allocator takes
  // The text is in the chunk's text as well.
  size_t bytes = sizeof(token) + kString + 2 * token.text().size();
  for (const v1::TokenLogprob& candidate : token.top_logprobs()) {
    bytes += sizeof(candidate) + kString + candidate.token().size();
  }
  return static_cast<int64_t>(bytes);
}

std::string KeptSession(const Request& request) { return request.keep ? request.session.id : ""; }

v1::Timings ToWire(const Timings& timings) {
  v1::Timings wire;
  wire.set_queued_seconds(absl::ToDoubleSeconds(timings.queued));
  wire.set_prefill_seconds(absl::ToDoubleSeconds(timings.prefill));
  wire.set_decode_seconds(absl::ToDoubleSeconds(timings.decode));
  return wire;
}

void AddUsage(const Usage& usage, v1::Usage* total) {
  total->set_prompt_tokens(usage.prompt_tokens);
  total->set_completion_tokens(total->completion_tokens() + usage.completion_tokens);
  total->set_cached_tokens(total->cached_tokens() + usage.cached_tokens);
  total->set_drafted_tokens(total->drafted_tokens() + usage.drafted_tokens);
  total->set_accepted_tokens(total->accepted_tokens() + usage.accepted_tokens);
}

}  // namespace retnet
