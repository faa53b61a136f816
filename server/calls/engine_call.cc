#include "server/calls/engine_call.h"

#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "server/ops/logging.h"

namespace retnet {

class EngineCall::Sink : public TokenSink {
 public:
  Sink(std::shared_ptr<EngineCall> call, int sample, CallMetrics* metrics)
      : call_(std::move(call)), sample_(sample), metrics_(metrics) {}

  void OnTokens(std::span<const SampleResult> answers) override {
    if (metrics_ != nullptr) Measure(static_cast<int64_t>(answers.size()));
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

  // The engine thread's.
  absl::Time last_ = absl::Now();  // the last token, or the submission
  bool begun_ = false;
};

void EngineCall::Submit(const EngineAccess* access, std::vector<Request> requests) {
  const int samples = static_cast<int>(requests.size());
  {
    const MutexLock lock(&mu_);
    access_ = access;
    submitted_.clear();
    open_ = samples;
    status_ = absl::OkStatus();
  }
  const auto self = std::static_pointer_cast<EngineCall>(shared_from_this());
  RequestId first = 0;
  // Without mu_, which the engine thread takes for samples that run already.
  for (int i = 0; i < samples; ++i) {
    requests[i].sample_of = first;
    const bool generates = requests[i].kind == RequestKind::kGenerate;
    const absl::StatusOr<RequestId> id = access->engine->Submit(
        std::move(requests[i]),
        std::make_shared<Sink>(self, i, generates ? access->metrics : nullptr));
    const MutexLock lock(&mu_);
    if (id.ok()) {
      if (i == 0) first = *id;
      submitted_.push_back(*id);
      continue;
    }
    if (status_.ok()) status_ = id.status();
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
  if (open_ > 0) return;
  if (status_.ok()) status_ = CheckAnswer();
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
