// A broken invariant ends the process that checks it, with a line that names it.
#include <gtest/gtest.h>

#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "absl/time/clock.h"
#include "engine/scheduling/scheduler.h"
#include "engine/scheduling/sequence.h"
#include "engine/sessions/sessions.h"
#include "engine/states/slot_pool.h"
#include "engine/states/state_cache.h"
#include "kernels/dcheck.h"
#include "tests/engine/fake_model.h"

namespace retnet {
namespace {

class InvariantsDeathTest : public testing::Test {
 protected:
  void SetUp() override {
    if (!kDchecks)
      GTEST_SKIP()
          << "this build has benchmarks and checks no invariants; scripts/test.sh builds with them";
    GTEST_FLAG_SET(death_test_style, "threadsafe");
  }

  static Request RequestOf(RequestKind kind) {
    Request request;
    request.kind = kind;
    request.prompt = {1, 2, 3};
    request.max_tokens = 1;
    return request;
  }

  static std::unique_ptr<Sequence> Make(Request request) {
    auto sequence = std::make_unique<Sequence>(std::move(request), nullptr,
                                               /*context_length=*/100, absl::Now());
    sequence->set_id(1);
    return sequence;
  }

  // A parked state that has seen `tokens` tokens.
  static StateRef Park(FakeModel* model, StateCache* states, int32_t tokens) {
    const std::vector<TokenId> text(tokens, 1);
    Segment segment;
    segment.slot = states->Take();
    segment.tokens = text;
    StepResult result;
    EXPECT_TRUE(model->Launch({&segment, 1}).ok());
    EXPECT_TRUE(model->Wait(&result).ok());
    return states->Park(segment.slot);
  }
};

TEST_F(InvariantsDeathTest, ASlotIsFreeOnce) {
  SlotPool slots(2);
  const SlotId slot = slots.Take();
  slots.Release(slot);
  EXPECT_DEATH(slots.Release(slot), "slot_pool.cc:[0-9]+: broken invariant: .*free_");
  EXPECT_DEATH(slots.Release(2),
               "slot_pool.cc:[0-9]+: broken invariant: slot >= 0 && slot < slots_");
}

TEST_F(InvariantsDeathTest, ASlotIsNotFreeWhileAStateIsParkedInIt) {
  FakeModel model({.slots = 2});
  StateCache states(&model, {.host_bytes = 1000}, [] {});
  const StateRef state = Park(&model, &states, 6);
  EXPECT_DEATH(states.Release(state->slot), "state_cache.cc:[0-9]+: broken invariant: .*!found");
}

TEST_F(InvariantsDeathTest, AStateIsQueuedUnderItsOwnRank) {
  FakeModel model({.slots = 2});
  StateCache states(&model, {.host_bytes = 1000}, [] {});
  const StateRef state = Park(&model, &states, 6);
  const double rank = std::exchange(state->rank, state->rank + 1);
  EXPECT_DEATH(states.Poll(), "state_cache.cc:[0-9]+: broken invariant: rank == state->rank");
  state->rank = rank;
  states.Poll();
}

TEST_F(InvariantsDeathTest, HostBytesAreTheSumOfTheStates) {
  FakeModel model({.slots = 1});
  StateCache states(&model, {.host_bytes = 1000}, [] {});
  const StateRef state = Park(&model, &states, 6);
  states.Release(states.Take());
  ASSERT_NE(state->bytes, nullptr) << "it has moved to host memory";
  const StateBytes bytes = std::exchange(state->bytes, std::make_shared<ByteVector>(1));
  EXPECT_DEATH(states.Poll(), "state_cache.cc:[0-9]+: broken invariant: host_bytes == host_bytes_");
  state->bytes = bytes;
}

TEST_F(InvariantsDeathTest, ASequenceWaitsOrRuns) {
  const auto sequence = Make(RequestOf(RequestKind::kGenerate));
  Scheduler scheduler(/*max_rows=*/8, /*chunk=*/4);
  scheduler.Enqueue(sequence.get());
  EXPECT_DEATH(scheduler.Add(sequence.get()), "scheduler.cc:[0-9]+: broken invariant: found");
}

TEST_F(InvariantsDeathTest, NoMoreTokensAreScheduledThanThereAre) {
  const auto sequence = Make(RequestOf(RequestKind::kPrefill));
  sequence->Start(/*slot=*/0, /*position=*/0);
  std::vector<RowOutput> outputs;
  EXPECT_DEATH(sequence->NextSegment(3, &outputs),
               "sequence.cc:[0-9]+: broken invariant: scheduled_tokens_ <=");
  sequence->NextSegment(2, &outputs);
  EXPECT_DEATH(sequence->Accept(3, {}, absl::Now()),
               "sequence.cc:[0-9]+: broken invariant: .*scheduled_tokens_ - computed_");
}

TEST_F(InvariantsDeathTest, ARequestDoesNotWaitForItself) {
  FakeModel model({});
  StateCache states(&model, {}, [] {});
  Sessions sessions({}, /*store=*/nullptr, &states, [](const std::function<void()>&) {});
  const SessionKey key{"anna", "s"};
  sessions.Create({.key = key, .labels = {}}, absl::Now(),
                  [](const auto& info) { EXPECT_TRUE(info.ok()) << info.status(); });
  Request request = RequestOf(RequestKind::kGenerate);
  request.session = key;
  request.wait_for_session = true;
  const auto sequence = Make(std::move(request));
  sessions.Attach(sequence.get());
  EXPECT_DEATH(sessions.Attach(sequence.get()), "sessions.cc:[0-9]+: broken invariant: .*waiting");
}

}  // namespace
}  // namespace retnet
