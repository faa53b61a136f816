// An executor on the fake model, for tests.
#ifndef RETNET_TESTS_ENGINE_EXECUTOR_FIXTURE_H_
#define RETNET_TESTS_ENGINE_EXECUTOR_FIXTURE_H_

#include <gtest/gtest.h>

#include <memory>
#include <utility>
#include <vector>

#include "engine/executor.h"
#include "tests/engine/fake_model.h"
#include "tests/engine/oracle.h"
#include "tests/engine/recording_sink.h"

namespace retnet {

inline constexpr int32_t kExecutorContext = 60;

// An executor on the fake, driven by hand: time passes only as the test says.
class ExecutorTest : public testing::Test {
 protected:
  void Start(FakeModelOptions options, int32_t max_rows) {
    options_ = std::move(options);
    control_ = std::make_shared<FakeModelControl>();
    executor_ = std::make_unique<Executor>(std::make_unique<FakeModel>(options_, control_),
                                           ExecutorOptions{.max_rows = max_rows}, /*store=*/nullptr,
                                           [](const std::function<void()>&) {});
    next_id_ = 1;
  }

  std::shared_ptr<RecordingSink> Admit(Request request) {
    auto sink = std::make_shared<RecordingSink>();
    auto sequence = std::make_unique<Sequence>(std::move(request), sink, kExecutorContext, now_);
    sequence->set_id(next_id_++);
    executor_->Admit(std::move(sequence));
    return sink;
  }

  absl::Status Turn() {
    executor_->Prepare(now_);
    absl::Status status = executor_->Step();
    executor_->Deliver();
    return status;
  }

  Request Generation(int32_t prompt_tokens, int32_t max_tokens) {
    Request request;
    request.prompt.assign(prompt_tokens, 1);
    request.max_tokens = max_tokens;
    return request;
  }

  FakeModelOptions options_;
  std::shared_ptr<FakeModelControl> control_;
  std::unique_ptr<Executor> executor_;
  RequestId next_id_ = 1;
  absl::Time now_ = absl::UnixEpoch();
};

}  // namespace retnet

#endif  // RETNET_TESTS_ENGINE_EXECUTOR_FIXTURE_H_
