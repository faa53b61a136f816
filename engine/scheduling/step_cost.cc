#include "engine/scheduling/step_cost.h"

#include <algorithm>
#include <limits>

namespace retnet {
namespace {

// A step's weight halves in 35 steps.
constexpr double kDecay = 0.98;
// How strongly what the latest steps do not tell stays as it was, relative to a step's weight.
constexpr double kMemory = 1e-3;
constexpr int32_t kMixedSteps = 15;
// What prompts may always add to a step, relative to its decoding rows.
constexpr double kAlwaysAllowed = 0.5;

double Dot(const std::array<double, 3>& a, const std::array<double, 3>& b) {
  return a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
}

}  // namespace

void StepCost::Observe(int32_t decoding_rows, int32_t prompt_rows, absl::Duration took) {
  const double seconds = absl::ToDoubleSeconds(took);
  if (!(seconds > 0)) return;
  if (decoding_rows > 0) mixed_steps_ = prompt_rows > 0 ? mixed_steps_ + 1 : 0;
  const Vector x = {1 / seconds, decoding_rows / seconds, prompt_rows / seconds};
  for (int i = 0; i < 3; ++i) {
    for (int j = 0; j < 3; ++j) moments_[i][j] = kDecay * moments_[i][j] + x[i] * x[j];
    products_[i] = kDecay * products_[i] + x[i];
  }
  Solve();
}

// Coordinate descent from the last solution, which keeps every cost from going negative and is
// close after a few rounds, since a step changes little.
void StepCost::Solve() {
  const Vector before = seconds_;
  for (int round = 0; round < 8; ++round) {
    for (int i = 0; i < 3; ++i) {
      if (moments_[i][i] == 0) continue;
      const double others = Dot(moments_[i], seconds_) - moments_[i][i] * seconds_[i];
      const double memory = kMemory * moments_[i][i];
      seconds_[i] =
          std::max(0.0, (products_[i] - others + memory * before[i]) / (moments_[i][i] + memory));
    }
  }
}

absl::Duration StepCost::Expected(int32_t decoding_rows, int32_t prompt_rows) const {
  return absl::Seconds(Dot(seconds_, {1.0, double(decoding_rows), double(prompt_rows)}));
}

int32_t StepCost::PromptRows(int32_t decoding_rows, absl::Duration limit) const {
  if (mixed_steps_ >= kMixedSteps) return 0;
  const absl::Duration alone = Expected(decoding_rows, 0);
  const double rows = absl::FDivDuration(std::max(limit - alone, kAlwaysAllowed * alone),
                                         absl::Seconds(seconds_[2]));
  constexpr double kMost = std::numeric_limits<int32_t>::max();
  return static_cast<int32_t>(std::clamp(rows, 1.0, kMost));
}

}  // namespace retnet
