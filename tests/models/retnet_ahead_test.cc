// Steps launched before the one before them is known, on every backend.
#include <gtest/gtest.h>

#include "tests/models/random_checkpoint.h"
#include "tests/models/step_script.h"
#include "tests/models/test_model.h"

namespace retnet {
namespace {

constexpr int32_t kSlots = 5;

TEST(RetNetAhead, TwoStepsInFlightAreThoseOneAfterAnother) {
  const std::string folder = WriteRandomCheckpoint(
      {.config = R"({"vocab_size": 97, "hidden_size": 24, "num_hidden_layers": 2, "num_heads": 3,
                     "intermediate_size": 40})"});
  for (const uint32_t seed : {1u, 2u}) {
    const StepScript script(kSlots, /*vocab_size=*/97, /*steps=*/60, seed);
    EXPECT_GT(script.decode_steps(), 20);
    for (const Backend& backend : UnrecordedBackends()) {
      SCOPED_TRACE(backend.name);
      TestModel one = backend.make(folder, kSlots, /*max_rows=*/500);
      TestModel two = backend.make(folder, kSlots, /*max_rows=*/500);
      ExpectSameAnswers(script.Run(one, /*ahead=*/false), script.Run(two, /*ahead=*/true));
    }
  }
}

}  // namespace
}  // namespace retnet
