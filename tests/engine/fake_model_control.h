// How a test steers a fake model that an engine owns, and what it sees of it.
#ifndef RETNET_TESTS_ENGINE_FAKE_MODEL_CONTROL_H_
#define RETNET_TESTS_ENGINE_FAKE_MODEL_CONTROL_H_

#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "models/model.h"

namespace retnet {

// Thread-safe.
class FakeModelControl {
 public:
  struct Rows {
    SlotId slot = 0;
    int32_t position = 0;
    int32_t rows = 0;
    RowClass row_class = RowClass::kPrompt;
  };

  // From now on every step stops before it is computed, until Release, or Pass, which lets one
  // through.
  void Hold();
  void Release();
  void Pass();
  // Returns when a step is stopped there, or a rule of the seam was broken.
  void AwaitHeldStep();

  // Wait of the step with this number, from 0, fails; so does everything after it.
  void FailAt(int64_t step, absl::Status status);

  // The steps launched so far.
  std::vector<std::vector<Rows>> steps() const;
  int64_t step_count() const;
  // Rules of the seam that were broken. Such calls fail, too.
  std::vector<std::string> violations() const;

 private:
  friend class FakeModel;
  void AddStep(std::span<const Segment> segments);
  absl::Status Violation(const std::string& rule);
  // Stops while held; then the status of this step.
  absl::Status EnterStep(int64_t step);

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  bool held_ = false;
  bool stopped_ = false;
  int64_t passes_ = 0;
  int64_t fail_at_ = -1;
  absl::Status failure_;
  std::vector<std::vector<Rows>> steps_;
  std::vector<std::string> violations_;
};

}  // namespace retnet

#endif  // RETNET_TESTS_ENGINE_FAKE_MODEL_CONTROL_H_
