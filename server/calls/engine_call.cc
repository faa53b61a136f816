#include "server/calls/engine_call.h"

#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "kernels/status_macros.h"
#include "server/ops/logging.h"

namespace retnet {

namespace {

// Asks the principal's limits. Sets the priority that the requests may have.
absl::Status BeginRequests(Principal* principal, int64_t prompt_tokens,
                           std::vector<Request>* requests) {
  if (principal == nullptr) return absl::OkStatus();
  for (Request& request : *requests) RETURN_IF_ERROR(principal->FitPriority(&request.priority));
  return principal->Begin(static_cast<int32_t>(requests->size()), prompt_tokens);
}

}  // namespace

class EngineCall::Sink : public TokenSink {
 public:
  // `principal` is charged for the tokens that come; null: nobody.
  Sink(std::shared_ptr<EngineCall> call, int sample, CallMetrics* metrics,
       std::shared_ptr<Principal> principal)
      : call_(std::move(call)),
        sample_(sample),
        metrics_(metrics),
        principal_(std::move(principal)) {}

  void OnTokens(std::span<const SampleResult> answers) override {
    if (metrics_ != nullptr) Measure(static_cast<int64_t>(answers.size()));
    if (principal_ != nullptr) principal_->Spend(static_cast<int64_t>(answers.size()));
    const MutexLock lock(&call_->mu_);
    call_->Answered(sample_, answers);
  }
  void OnFinish(const Completion& completion) override {
    if (metrics_ != nullptr) metrics_->queued().Observe(completion.timings.queued);
    call_->SampleEnded(sample_, completion);
  }

 private:
  // Tokens of one step share the time since the last one.
  void Measure(int64_t tokens) {
    const absl::Time now = absl::Now();
    if (!begun_) {
      metrics_->first_token().Observe(now - last_);
      if (tokens > 1) metrics_->between_tokens().Observe(absl::ZeroDuration(), tokens - 1);
    } else {
      metrics_->between_tokens().Observe((now - last_) / tokens, tokens);
    }
    begun_ = true;
    last_ = now;
  }

  const std::shared_ptr<EngineCall> call_;
  const int sample_;
  CallMetrics* const metrics_;  // of a generation, where there are any
  const std::shared_ptr<Principal> principal_;

  // The engine thread's.
  absl::Time last_ = absl::Now();  // the last token, or the submission
  bool begun_ = false;
};

void EngineCall::ChargeTo(std::shared_ptr<Principal> principal) {
  const MutexLock lock(&mu_);
  principal_ = std::move(principal);
}

void EngineCall::Keep(TextBudget::Hold hold) {
  const MutexLock lock(&mu_);
  hold_ = std::move(hold);
}

void EngineCall::Submit(const EngineAccess* access, std::vector<Request> requests) {
  const int samples = static_cast<int>(requests.size());
  // All samples have the prompt in common. Its head, a few tokens, is not known yet.
  const auto prompt_tokens = static_cast<int64_t>(requests.front().prompt.size()) +
                             (requests.front().head != nullptr ? 1 : 0);
  std::shared_ptr<Principal> principal;
  {
    const MutexLock lock(&mu_);
    access_ = access;
    submitted_.clear();
    principal = principal_;
    status_ = BeginRequests(principal.get(), prompt_tokens, &requests);
    if (!status_.ok()) return Conclude();
    open_ = samples;
  }
  const auto self = std::static_pointer_cast<EngineCall>(shared_from_this());
  RequestId first = 0;
  // Without mu_, which the engine thread takes for samples that run already.
  for (int i = 0; i < samples; ++i) {
    requests[i].sample_of = first;
    const bool generates = requests[i].kind == RequestKind::kGenerate;
    const absl::StatusOr<RequestId> id = access->engine->Submit(
        std::move(requests[i]),
        std::make_shared<Sink>(self, i, generates ? access->metrics : nullptr,
                               generates ? principal : nullptr));
    const MutexLock lock(&mu_);
    if (id.ok()) {
      if (i == 0) first = *id;
      submitted_.push_back(*id);
      continue;
    }
    if (status_.ok()) status_ = id.status();
    if (i == 0 && principal != nullptr) principal->Spend(-prompt_tokens);
    EndSamples(samples - i);
    break;
  }
  bool unwanted;
  {
    const MutexLock lock(&mu_);
    unwanted = cancelled_ || !status_.ok();
  }
  if (unwanted) CancelSubmitted();
}

void EngineCall::DeleteOnFailure(SessionKey session) {
  const MutexLock lock(&mu_);
  made_ = std::move(session);
}

void EngineCall::Refuse(const absl::Status& status) {
  const MutexLock lock(&mu_);
  AllEnded(status);
}

void EngineCall::Cancel() {
  {
    const MutexLock lock(&mu_);
    cancelled_ = true;
  }
  CancelSubmitted();
}

bool EngineCall::cancelled() {
  const MutexLock lock(&mu_);
  return cancelled_;
}

void EngineCall::SampleEnded(int sample, const Completion& completion) {
  std::function<void()> model_failed;
  bool unsound = false;
  bool cancel_others = false;
  {
    const MutexLock lock(&mu_);
    if (!completion.status.ok()) {
      cancel_others = status_.ok() && open_ > 1;
      if (status_.ok()) status_ = completion.status;
      const bool healthy = access_->engine->healthy();
      if (!healthy) model_failed = access_->model_failed;
      unsound = healthy && absl::IsInternal(completion.status);
    }
    Ended(sample, completion);
    EndSamples(1);
  }
  if (unsound) {
    Log(LogLevel::kError, absl::StrCat("a request failed: ", completion.status.message()));
  }
  if (cancel_others) CancelSubmitted();
  if (model_failed) model_failed();
}

void EngineCall::EndSamples(int samples) {
  open_ -= samples;
  if (principal_ != nullptr) principal_->End(samples);
  if (open_ > 0) return;
  if (status_.ok()) status_ = CheckAnswer();
  Conclude();
}

void EngineCall::Conclude() {
  if (!status_.ok() && !made_.id.empty()) access_->engine->DeleteSession(made_, [](const auto&) {});
  AllEnded(status_);
}

void EngineCall::StopSamples() {
  for (const RequestId id : submitted_) access_->engine->Stop(id);
}

void EngineCall::FailSamples(const absl::Status& status) {
  if (status_.ok()) status_ = status;
  for (const RequestId id : submitted_) access_->engine->Cancel(id);
}

void EngineCall::CancelSubmitted() {
  const EngineAccess* access;
  std::vector<RequestId> ids;
  {
    const MutexLock lock(&mu_);
    access = access_;
    ids = submitted_;
  }
  for (const RequestId id : ids) access->engine->Cancel(id);
}

}  // namespace retnet
