// What a step of so many rows takes, learned from the steps that have run.
#ifndef RETNET_ENGINE_SCHEDULING_STEP_COST_H_
#define RETNET_ENGINE_SCHEDULING_STEP_COST_H_

#include <array>
#include <cstdint>

#include "absl/time/time.h"

namespace retnet {

// Least squares over the latest steps: seconds = step + decoding · d + prompt · p, errors taken
// relative to what a step took, so that short steps count as much as long ones and a step that was
// held up by something else counts little. A backend's real cost bends (a few more rows are free
// while weights are what takes the time); the line follows the sizes in use. Thread-compatible.
class StepCost {
 public:
  // Seconds; all zero before the first step.
  struct Times {
    double step = 0.0;  // without rows
    double decoding_row = 0.0;
    double prompt_row = 0.0;
  };

  void Observe(int32_t decoding_rows, int32_t prompt_rows, absl::Duration took);

  // Zero before the first step.
  absl::Duration Expected(int32_t decoding_rows, int32_t prompt_rows) const;

  Times times() const { return {seconds_[0], seconds_[1], seconds_[2]}; }

  // What one more row of a prompt takes; zero before the first step.
  absl::Duration PromptRow() const { return absl::Seconds(seconds_[2]); }

  // The most prompt rows beside so many decoding ones for which the step is expected to end within
  // `limit`; at least 1. Where that is less than half again of what the decoding rows take alone,
  // that much is allowed, so that prompts always get on. But 0 when the last 15 steps had both: of
  // such steps alone nobody could tell what decoding rows take and what prompt rows.
  int32_t PromptRows(int32_t decoding_rows, absl::Duration limit) const;

 private:
  using Vector = std::array<double, 3>;  // step, decoding row, prompt row

  void Solve();

  int32_t mixed_steps_ = 0;             // since the last one of decoding rows alone
  Vector seconds_ = {};                 // what each costs; never negative
  std::array<Vector, 3> moments_ = {};  // Σ x xᵀ / took², decaying
  Vector products_ = {};                // Σ x / took
};

}  // namespace retnet

#endif  // RETNET_ENGINE_SCHEDULING_STEP_COST_H_
