#include "server/engine_call.h"

#include <memory>
#include <mutex>
#include <utility>

namespace retnet {

class EngineCall::Sink : public TokenSink {
 public:
  Sink(std::shared_ptr<EngineCall> call, int sample) : call_(std::move(call)), sample_(sample) {}

  void Answers(std::span<const LogitsAnswer> answers) override {
    std::lock_guard lock(call_->mu_);
    call_->Answered(sample_, answers);
  }
  void Done(const Completion& completion) override { call_->SampleEnded(sample_, completion); }

 private:
  const std::shared_ptr<EngineCall> call_;
  const int sample_;
};

void EngineCall::Submit(Engine* engine, std::vector<Request> requests,
                        std::function<void()> model_failed) {
  const int samples = static_cast<int>(requests.size());
  {
    std::lock_guard lock(mu_);
    engine_ = engine;
    model_failed_ = std::move(model_failed);
    submitted_.clear();
    open_ = samples;
    status_ = absl::OkStatus();
  }
  const auto self = std::static_pointer_cast<EngineCall>(shared_from_this());
  RequestId first = 0;
  // Without mu_, which the engine thread takes for samples that run already.
  for (int i = 0; i < samples; ++i) {
    requests[i].sample_of = first;
    const absl::StatusOr<RequestId> id =
        engine->Submit(std::move(requests[i]), std::make_shared<Sink>(self, i));
    std::lock_guard lock(mu_);
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
    std::lock_guard lock(mu_);
    unwanted = cancelled_ || !status_.ok();
  }
  if (unwanted) CancelSubmitted();
}

void EngineCall::DeleteOnFailure(SessionKey session) {
  std::lock_guard lock(mu_);
  made_ = std::move(session);
}

void EngineCall::Refuse(const absl::Status& status) {
  std::lock_guard lock(mu_);
  AllEnded(status);
}

void EngineCall::Cancel() {
  {
    std::lock_guard lock(mu_);
    cancelled_ = true;
  }
  CancelSubmitted();
}

void EngineCall::SampleEnded(int sample, const Completion& completion) {
  std::function<void()> model_failed;
  bool cancel_others = false;
  {
    std::lock_guard lock(mu_);
    if (!completion.status.ok()) {
      cancel_others = status_.ok() && open_ > 1;
      if (status_.ok()) status_ = completion.status;
      if (!engine_->healthy()) model_failed = model_failed_;
    }
    Ended(sample, completion);
    EndSamples(1);
  }
  if (cancel_others) CancelSubmitted();
  if (model_failed) model_failed();
}

void EngineCall::EndSamples(int samples) {
  open_ -= samples;
  if (open_ > 0) return;
  if (!status_.ok() && !made_.id.empty()) engine_->DeleteSession(made_, [](const auto&) {});
  AllEnded(status_);
}

void EngineCall::CancelSubmitted() {
  Engine* engine;
  std::vector<RequestId> ids;
  {
    std::lock_guard lock(mu_);
    engine = engine_;
    ids = submitted_;
  }
  for (const RequestId id : ids) engine->Cancel(id);
}

}  // namespace retnet
