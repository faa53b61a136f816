#include "engine/scheduling/state_manager.h"

#include <gtest/gtest.h>

#include <span>
#include <utility>
#include <vector>

#include "absl/time/clock.h"
#include "tests/engine/fake_model.h"

namespace retnet {
namespace {

// The time of a write is known from the first one on.
TEST(StateManager, RestoresAStateOnlyWhereThatIsCheaperThanComputingIt) {
  FakeModelOptions options;
  options.slots = 1;
  FakeModel model(options);
  StateCache state_cache(&model, {.host_bytes = 1000}, [] {});
  StateManager manager(&model, &state_cache, {.prefix_cache = false});
  const std::vector<TokenId> text(10, 1);
  Segment segment;
  segment.slot = state_cache.Take();
  segment.tokens = std::span(text).first(6);
  StepResult result;
  ASSERT_TRUE(model.Launch({&segment, 1}).ok());
  ASSERT_TRUE(model.Wait(&result).ok());
  const StateRef state = state_cache.Park(segment.slot);
  state_cache.Release(state_cache.Take());
  ASSERT_EQ(state->slot, kNoSlot) << "it has moved to host memory";

  const auto resumed_at = [&](absl::Duration prefill_row) {
    Request request;
    request.prompt = text;
    request.max_tokens = 1;
    Sequence sequence(std::move(request), nullptr, /*context_length=*/100, absl::Now());
    sequence.set_state({.state = state, .tokens = 6});
    EXPECT_TRUE(manager.AssignSlot(&sequence, prefill_row));
    EXPECT_TRUE(manager.ready(sequence));
    state_cache.Release(sequence.slot());
    return sequence.computed_tokens();
  };
  EXPECT_EQ(resumed_at(absl::Hours(1)), 6);
  EXPECT_GT(state_cache.RestoreTime(*state), absl::ZeroDuration());
  EXPECT_EQ(resumed_at(absl::Hours(1)), 6);
  EXPECT_EQ(resumed_at(absl::ZeroDuration()), 0);
}

}  // namespace
}  // namespace retnet
