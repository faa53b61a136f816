// How the scheduler divides slots, queue and steps among tenants.
#include <map>
#include <vector>

#include "tests/engine/scheduling/scheduler_fixture.h"

namespace retnet {
namespace {

TEST_F(SchedulerTest, SlotsGoToTheTenantThatHasTheFewest) {
  Scheduler scheduler(8, 4);
  for (int i = 0; i < 3; ++i) scheduler.Enqueue(Make(1, 10, 0, "flood"));
  Sequence* late = Make(1, 10, 0, "modest");
  scheduler.Enqueue(late);
  scheduler.TakeSlot(scheduler.NextWaiting());
  EXPECT_EQ(scheduler.NextWaiting(), late);
  scheduler.TakeSlot(late);
  EXPECT_EQ(scheduler.NextWaiting(), sequences_[1].get()) << "equal again: by rank";
}

// With a step's and rows' times as on the default model on a CPU.
constexpr StepCost::Times kTimes = {.step = 3e-4, .decoding_row = 1.5e-4, .prompt_row = 1e-4};

double SecondsOf(const std::vector<ScheduledRows>& pieces) {
  double seconds = kTimes.step;
  for (const auto& [sequence, rows] : pieces) {
    seconds += rows * (sequence->decoding() ? kTimes.decoding_row : kTimes.prompt_row);
  }
  return seconds;
}

TEST_F(SchedulerTest, AFloodAtMostDoublesAStepAndItsSequencesTakeTurns) {
  Scheduler scheduler(512, 64);
  std::vector<Sequence*> flood;
  for (int i = 0; i < 32; ++i) flood.push_back(Started(scheduler, Make(1, 1000, 0, "flood")));
  RunStep(scheduler, Unlimited, kTimes);
  Sequence* modest = Started(scheduler, Make(20, 1000, 0, "modest"));
  EXPECT_EQ(RowsOf(RunStep(scheduler, Unlimited, kTimes), modest), 20);
  std::map<const Sequence*, int> rows;
  for (int step = 0; step < 320; ++step) {
    const std::vector<ScheduledRows> pieces = RunStep(scheduler, Unlimited, kTimes);
    ASSERT_EQ(RowsOf(pieces, modest), 1);
    ASSERT_LE(SecondsOf(pieces), 2 * (kTimes.step + kTimes.decoding_row) + 1e-9);
    for (const ScheduledRows& piece : pieces) rows[piece.sequence] += piece.rows;
  }
  for (const Sequence* sequence : flood) {
    EXPECT_EQ(rows[sequence], 30) << "three of 32 a step, in turn";
  }
}

TEST_F(SchedulerTest, APromptFloodAtMostDoublesAStep) {
  Scheduler scheduler(512, 64);
  Sequence* modest = Started(scheduler, Make(1, 1000, 0, "modest"));
  RunStep(scheduler, Unlimited, kTimes);
  for (int i = 0; i < 32; ++i) Started(scheduler, Make(8000, 1, 0, "flood"));
  for (int step = 0; step < 50; ++step) {
    const std::vector<ScheduledRows> pieces = RunStep(scheduler, Unlimited, kTimes);
    ASSERT_EQ(RowsOf(pieces, modest), 1);
    ASSERT_GE(pieces.size(), 2) << "the flood gets on, too";
    ASSERT_LE(SecondsOf(pieces), 2 * (kTimes.step + kTimes.decoding_row) + 1e-9);
  }
}

TEST_F(SchedulerTest, AStepIsShortWhileATenantWaitsForItsSlot) {
  Scheduler scheduler(512, 64);
  for (int i = 0; i < 4; ++i) Started(scheduler, Make(8000, 1, 0, "flood"));
  EXPECT_GT(SecondsOf(RunStep(scheduler, Unlimited, kTimes)), 0.05) << "512 rows";
  scheduler.Enqueue(Make(10, 1, 0, "modest"));
  EXPECT_LE(SecondsOf(RunStep(scheduler, Unlimited, kTimes)),
            2 * (kTimes.step + 10 * kTimes.prompt_row) + 1e-9);
}

TEST_F(SchedulerTest, AStepIsShortWhileATenantIsExpectedBack) {
  Scheduler scheduler(512, 64);
  for (int i = 0; i < 4; ++i) Started(scheduler, Make(1 << 18, 1, 0, "flood"));
  RunStep(scheduler, Unlimited, kTimes);
  Started(scheduler, Make(10, 1, 0, "modest"));
  RunStep(scheduler, Unlimited, kTimes);  // it has its answer, and its client writes the next one
  double seconds = 0.0;
  int steps = 0;
  while (true) {
    const double step = SecondsOf(RunStep(scheduler, Unlimited, kTimes));
    if (step > 2 * (kTimes.step + 10 * kTimes.prompt_row) + 1e-9) break;
    seconds += step;
    ASSERT_LT(++steps, 2000) << "it is not expected for ever";
  }
  EXPECT_NEAR(seconds, AbsentTenants::kExpected, 0.1);
  EXPECT_GT(SecondsOf(RunStep(scheduler, Unlimited, kTimes)), 0.05) << "512 rows";
}

TEST_F(SchedulerTest, ATenantAloneIsNotHeldBackByItsOwnLastRequest) {
  Scheduler scheduler(512, 64);
  Started(scheduler, Make(10, 1, 0, "one"));
  RunStep(scheduler, Unlimited, kTimes);
  Started(scheduler, Make(8000, 1, 0, "one"));
  EXPECT_GT(SecondsOf(RunStep(scheduler, Unlimited, kTimes)), 0.05) << "512 rows";
}

TEST_F(SchedulerTest, WhoNeverHadASlotIsNotExpectedBack) {
  Scheduler scheduler(512, 64);
  Started(scheduler, Make(8000, 1, 0, "one"));
  Sequence* refused = Make(1, 1, 0, "other");
  scheduler.Enqueue(refused);
  scheduler.Remove(refused);
  EXPECT_GT(SecondsOf(RunStep(scheduler, Unlimited, kTimes)), 0.05) << "512 rows";
}

TEST_F(SchedulerTest, WhoHasMoreSlotsForItsWeightGivesOneUp) {
  Scheduler scheduler(8, 4);
  std::vector<Sequence*> flood;
  for (int i = 0; i < 3; ++i) flood.push_back(Started(scheduler, Make(1, 1000, 0, "flood")));
  Sequence* modest = Make(1, 10, 0, "modest");
  scheduler.Enqueue(modest);
  EXPECT_EQ(scheduler.PreemptableFor(*modest), nullptr) << "nobody's slot is known to the fake";
  SlotId slot = 0;
  for (Sequence* sequence : flood) sequence->Start(slot++, 0);
  ASSERT_EQ(scheduler.PreemptableFor(*modest), flood[2]) << "the last that came";
  scheduler.GiveUpSlot(flood[2]);
  EXPECT_EQ(scheduler.NextWaiting(), modest);
  scheduler.TakeSlot(modest);
  Sequence* another = Make(1, 10, 0, "modest");
  scheduler.Enqueue(another);
  EXPECT_EQ(scheduler.PreemptableFor(*another), nullptr) << "two slots and one: it would only turn";
  EXPECT_EQ(scheduler.PreemptableFor(*flood[2]), nullptr) << "its tenant has more than the other";
}

TEST_F(SchedulerTest, TenantsWithoutASlotGetTurns) {
  Scheduler scheduler(8, 4);
  Sequence* first = Started(scheduler, Make(1, 1 << 19, 0, "first"));
  first->Start(0, 0);
  Sequence* second = Make(1, 10, 0, "second");
  scheduler.Enqueue(second);
  EXPECT_EQ(scheduler.PreemptableFor(*second), nullptr);
  for (int step = 0; scheduler.PreemptableFor(*second) == nullptr; ++step) {
    ASSERT_LT(step, 2 * 0.25 / (kTimes.step + kTimes.decoding_row) / 0.5);
    RunStep(scheduler, Unlimited, kTimes);
  }
  EXPECT_EQ(scheduler.PreemptableFor(*second), first);
}

TEST_F(SchedulerTest, TheLongestQueueForItsWeightLosesItsLast) {
  Scheduler scheduler(8, 4);
  EXPECT_EQ(scheduler.LastOfLongestQueue(), nullptr);
  for (int i = 0; i < 3; ++i) scheduler.Enqueue(Make(1, 10, 0, "flood"));
  for (int i = 0; i < 2; ++i) scheduler.Enqueue(Make(1, 10, 0, "modest"));
  EXPECT_EQ(scheduler.LastOfLongestQueue(), sequences_[2].get());
  scheduler.Remove(sequences_[2].get());
  scheduler.Remove(sequences_[1].get());
  EXPECT_EQ(scheduler.LastOfLongestQueue(), sequences_[4].get());
}

TEST_F(SchedulerTest, ScoresRunInTheGapsOfPrompts) {
  Scheduler scheduler(64, 4);
  Started(scheduler, Make(1000, 1));
  Request request;
  request.kind = RequestKind::kScore;
  request.prompt.assign(3, 0);
  sequences_.push_back(
      std::make_unique<Sequence>(std::move(request), nullptr, 1 << 20, absl::UnixEpoch()));
  Sequence* score = sequences_.back().get();
  score->set_id(sequences_.size());
  Started(scheduler, score);
  Sequence* prompt = Started(scheduler, Make(40, 1));
  const std::vector<ScheduledRows> pieces = RunStep(scheduler);
  EXPECT_EQ(RowsOf(pieces, prompt), 32);
  EXPECT_EQ(RowsOf(pieces, score), 0);
}

}  // namespace
}  // namespace retnet
