// An engine on the fake model, for tests.
#ifndef RETNET_TESTS_ENGINE_ENGINE_FIXTURE_H_
#define RETNET_TESTS_ENGINE_ENGINE_FIXTURE_H_

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <utility>

#include "engine/engine.h"
#include "tests/engine/fake_model.h"
#include "tests/engine/recording_sink.h"

namespace retnet {

class EngineTest : public testing::Test {
 protected:
  void Start(FakeModelOptions model = {}, EngineOptions options = {}) {
    model_ = std::move(model);
    control_ = std::make_shared<FakeModelControl>();
    engine_ = std::make_unique<Engine>(std::make_unique<FakeModel>(model_, control_), options);
  }

  // With a single slot and the model held in the first step of a request that would go on for long.
  RequestId StartHeldWithOneSlot(EngineOptions options = {}) {
    Start({.slots = 1}, options);
    control_->Hold();
    const RequestId id = Submit(Generation(1000), first_);
    control_->AwaitHeldStep();
    return id;
  }

  RequestId Submit(Request request, const std::shared_ptr<TokenSink>& sink) {
    absl::StatusOr<RequestId> id = engine_->Submit(std::move(request), sink);
    if (id.ok()) return *id;
    ADD_FAILURE() << id.status();
    Completion refused;  // so that nobody waits for ever
    refused.status = id.status();
    sink->OnFinish(refused);
    return 0;
  }

  static Request Generation(int32_t max_tokens) {
    Request request;
    request.prompt = {1, 2, 3};
    request.max_tokens = max_tokens;
    return request;
  }

  void TearDown() override {
    control_->Release();
    engine_.reset();
    EXPECT_THAT(control_->violations(), testing::IsEmpty());
    EXPECT_EQ(first_->calls_after_done(), 0);
  }

  FakeModelOptions model_;
  std::shared_ptr<FakeModelControl> control_;
  std::unique_ptr<Engine> engine_;
  std::shared_ptr<RecordingSink> first_ = std::make_shared<RecordingSink>();
};

}  // namespace retnet

#endif  // RETNET_TESTS_ENGINE_ENGINE_FIXTURE_H_
