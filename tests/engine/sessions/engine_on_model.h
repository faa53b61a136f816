// An engine on a model that computes, for tests.
#ifndef RETNET_TESTS_ENGINE_SESSIONS_ENGINE_ON_MODEL_H_
#define RETNET_TESTS_ENGINE_SESSIONS_ENGINE_ON_MODEL_H_

#include <gtest/gtest.h>

#include <functional>
#include <future>
#include <span>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/session.h"
#include "tests/models/test_model.h"

namespace retnet {

// A TestModel's model, which keeps it.
class OwnedModel : public Model {
 public:
  explicit OwnedModel(TestModel model) : model_(std::move(model)) {
    model_->set_transfer_done(
        [this](Ticket ticket, absl::Status status) { transfer_done_(ticket, std::move(status)); });
  }
  const ModelInfo& info() const override { return model_->info(); }
  absl::Status Launch(std::span<const Segment> segments) override {
    return model_->Launch(segments);
  }
  absl::Status Wait(StepResult* result) override { return model_->Wait(result); }
  absl::Status Fork(SlotId from, SlotId to, int32_t position) override {
    return model_->Fork(from, to, position);
  }
  absl::Status Truncate(SlotId slot, int32_t position) override {
    return model_->Truncate(slot, position);
  }
  absl::Status Clear(SlotId slot) override { return model_->Clear(slot); }
  StateShape state(SlotId slot) const override { return model_->state(slot); }
  absl::StatusOr<Ticket> StartRead(SlotId slot, std::span<std::byte> bytes) override {
    return model_->StartRead(slot, bytes);
  }
  absl::StatusOr<Ticket> StartWrite(std::span<const std::byte> bytes, StateShape shape,
                                    SlotId slot) override {
    return model_->StartWrite(bytes, shape, slot);
  }

 private:
  TestModel model_;
};

// Calls and waits for the answer, which must come.
template <typename T>
T Await(const std::function<void(Reply<T>)>& call) {
  std::promise<absl::StatusOr<T>> promise;
  call([&promise](absl::StatusOr<T> answer) { promise.set_value(std::move(answer)); });
  absl::StatusOr<T> answer = promise.get_future().get();
  EXPECT_TRUE(answer.ok()) << answer.status();
  return *std::move(answer);
}

}  // namespace retnet

#endif  // RETNET_TESTS_ENGINE_SESSIONS_ENGINE_ON_MODEL_H_
