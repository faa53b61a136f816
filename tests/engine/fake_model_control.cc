#include "tests/engine/fake_model_control.h"

#include <utility>

namespace retnet {

void FakeModelControl::Hold() {
  std::lock_guard lock(mutex_);
  held_ = true;
}

void FakeModelControl::Release() {
  std::lock_guard lock(mutex_);
  held_ = false;
  changed_.notify_all();
}

void FakeModelControl::Pass() {
  std::lock_guard lock(mutex_);
  ++passes_;
  changed_.notify_all();
}

void FakeModelControl::AwaitHeldStep() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return (stopped_ && passes_ == 0) || !violations_.empty(); });
}

void FakeModelControl::FailAt(int64_t step, absl::Status status) {
  std::lock_guard lock(mutex_);
  fail_at_ = step;
  failure_ = std::move(status);
}

std::vector<std::vector<FakeModelControl::Rows>> FakeModelControl::steps() const {
  std::lock_guard lock(mutex_);
  return steps_;
}

int64_t FakeModelControl::step_count() const {
  std::lock_guard lock(mutex_);
  return static_cast<int64_t>(steps_.size());
}

std::vector<std::string> FakeModelControl::violations() const {
  std::lock_guard lock(mutex_);
  return violations_;
}

void FakeModelControl::AddStep(std::span<const Segment> segments) {
  std::vector<Rows> step;
  for (const Segment& segment : segments) {
    step.push_back({.slot = segment.slot,
                    .position = segment.position,
                    .rows = static_cast<int32_t>(segment.tokens.size()),
                    .row_class = segment.row_class});
  }
  std::lock_guard lock(mutex_);
  steps_.push_back(std::move(step));
}

absl::Status FakeModelControl::Violation(const std::string& rule) {
  std::lock_guard lock(mutex_);
  violations_.push_back(rule);
  changed_.notify_all();
  return absl::InvalidArgumentError(rule);
}

absl::Status FakeModelControl::EnterStep(int64_t step) {
  std::unique_lock lock(mutex_);
  if (held_) {
    stopped_ = true;
    changed_.notify_all();
    changed_.wait(lock, [this] { return !held_ || passes_ > 0; });
    stopped_ = false;
    if (held_) --passes_;
  }
  return step == fail_at_ ? failure_ : absl::OkStatus();
}

}  // namespace retnet
