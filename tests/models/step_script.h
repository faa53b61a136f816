// Random orders to a model, executed with one step in flight or with two.
#ifndef RETNET_TESTS_MODELS_STEP_SCRIPT_H_
#define RETNET_TESTS_MODELS_STEP_SCRIPT_H_

#include <cstdint>
#include <string>
#include <vector>

#include "kernels/sampling.h"
#include "models/model.h"
#include "tests/models/test_model.h"

namespace retnet {

// Steps with prompts, decoding sequences and scored rows. Between the steps: forks, truncations,
// cleared slots, and states that move to another slot through the host.
class StepScript {
 public:
  StepScript(int32_t slots, int32_t vocab_size, int32_t steps, uint32_t seed);

  // Executes the script and returns all results in order. With `ahead`, each step is launched
  // before the previous one is waited for, and continues with kLastSampled. Otherwise the host
  // names every token.
  std::vector<SampleResult> Run(TestModel& model, bool ahead) const;

  // The number of its steps that are decode steps.
  int32_t decode_steps() const { return decode_steps_; }

 private:
  enum class Kind { kStep, kFork, kTruncate, kClear, kCopy };
  struct Part {
    SlotId slot = 0;
    std::vector<TokenId> tokens;  // none: what the slot sampled last
    std::vector<RowOutput> outputs;
  };
  struct Order {
    Kind kind = Kind::kStep;
    std::vector<Part> parts;
    SlotId from = 0;
    SlotId to = 0;
    int32_t tokens = 0;  // taken back
  };
  class Generator;
  class Runner;

  std::vector<Order> orders_;
  int32_t decode_steps_ = 0;
};

// Bit for bit; NaN is NaN.
void ExpectSameResults(const std::vector<SampleResult>& a, const std::vector<SampleResult>& b);

}  // namespace retnet

#endif  // RETNET_TESTS_MODELS_STEP_SCRIPT_H_
