#include <algorithm>
#include <map>
#include <random>
#include <vector>

#include "tests/engine/scheduling/scheduler_fixture.h"

namespace retnet {
namespace {

TEST_F(SchedulerTest, HasNothingToRunWithoutASlot) {
  Scheduler scheduler(16, 4);
  EXPECT_TRUE(scheduler.NextBatch(Unlimited).empty());
  scheduler.Enqueue(Make(3));
  EXPECT_TRUE(scheduler.NextBatch(Unlimited).empty());
  EXPECT_EQ(scheduler.waiting(), 1);
}

TEST_F(SchedulerTest, DecodesBeforePrefill) {
  Scheduler scheduler(8, 4);
  Sequence* decoding = Started(scheduler, Make(2));
  RunStep(scheduler);
  ASSERT_TRUE(decoding->decoding());
  Sequence* urgent = Started(scheduler, Make(100, 10, /*priority=*/5));
  const std::vector<ScheduledRows> pieces = RunStep(scheduler);
  ASSERT_EQ(pieces.size(), 2);
  EXPECT_EQ(pieces[0].sequence, decoding);
  EXPECT_EQ(pieces[0].rows, 1);
  EXPECT_EQ(pieces[1].sequence, urgent);
}

TEST_F(SchedulerTest, KeepsPromptsBesideDecodingWithinTheirBudget) {
  Scheduler scheduler(64, 4);
  Sequence* alone = Started(scheduler, Make(40));
  const auto budget = [](int32_t decoding_rows) { return 3 * decoding_rows; };
  EXPECT_EQ(RowsOf(RunStep(scheduler, budget), alone), 40) << "nobody waits for the step";
  Sequence* first = Started(scheduler, Make(100));
  Sequence* second = Started(scheduler, Make(100));
  for (int step = 0; step < 20; ++step) {
    const std::vector<ScheduledRows> pieces = RunStep(scheduler, budget);
    EXPECT_EQ(RowsOf(pieces, alone), 1);
    const int32_t prompts = RowsOf(pieces, first) + RowsOf(pieces, second);
    EXPECT_LE(prompts, 3);
    EXPECT_GE(prompts, 1);
  }
}

TEST_F(SchedulerTest, StepsStayWithinTheRowBudget) {
  std::mt19937 random(1);
  for (int32_t budget : {1, 2, 7, 64}) {
    Scheduler scheduler(budget, 4);
    for (int i = 0; i < 20; ++i) Started(scheduler, Make(1 + random() % 40, 1 + random() % 20));
    while (scheduler.running() > 0) {
      int32_t rows = 0;
      for (const ScheduledRows& piece : RunStep(scheduler)) {
        EXPECT_GT(piece.rows, 0);
        rows += piece.rows;
      }
      ASSERT_GT(rows, 0);
      ASSERT_LE(rows, budget);
    }
  }
}

TEST_F(SchedulerTest, QueueGoesByPriorityThenArrival) {
  Scheduler scheduler(8, 4);
  Sequence* first = Make(1);
  Sequence* second = Make(1);
  Sequence* urgent = Make(1, 1, /*priority=*/1);
  Sequence* patient = Make(1, 1, /*priority=*/-1);
  for (Sequence* sequence : {patient, second, urgent, first}) scheduler.Enqueue(sequence);
  for (Sequence* expected : {urgent, first, second, patient}) {
    ASSERT_EQ(scheduler.NextWaiting(), expected);
    scheduler.Remove(expected);
  }
  EXPECT_EQ(scheduler.NextWaiting(), nullptr);
}

TEST_F(SchedulerTest, PromptsGoByPriorityThenArrival) {
  Scheduler scheduler(8, 4);
  Sequence* first = Started(scheduler, Make(8));
  Sequence* urgent = Started(scheduler, Make(8, 1000, /*priority=*/1));
  EXPECT_EQ(RowsOf(RunStep(scheduler), urgent), 8);
  EXPECT_EQ(RowsOf(RunStep(scheduler), first), 4) << "7 rows, cut at the chunk's end";
}

// However many urgent requests keep coming, a patient one is passed by kPriorityReach of them a
// step of priority, and no more.
TEST_F(SchedulerTest, PriorityPassesABoundedNumberOfOthers) {
  Scheduler scheduler(8, 4);
  Sequence* patient = Make(1);
  scheduler.Enqueue(patient);
  int64_t passed = 0;
  while (true) {
    ASSERT_LE(passed, 2 * kPriorityReach);
    scheduler.Enqueue(Make(1, 1, /*priority=*/2));
    Sequence* next = scheduler.NextWaiting();
    if (next == patient) break;
    ++passed;
    scheduler.Remove(next);
  }
  EXPECT_GE(passed, kPriorityReach);
}

TEST_F(SchedulerTest, PiecesEndAtChunksWhereThatCostsLessThanHalfOfTheRows) {
  for (int32_t chunk : {1, 4, 8, 64}) {
    for (int32_t budget = 1; budget <= 70; ++budget) {
      Scheduler scheduler(budget, chunk);
      Sequence* sequence = Started(scheduler, Make(300));
      while (!sequence->decoding()) {
        const int32_t position = sequence->computed_tokens();
        const int32_t left = sequence->rows_left();
        const std::vector<ScheduledRows> pieces = RunStep(scheduler);
        ASSERT_EQ(pieces.size(), 1);
        const int32_t rows = pieces[0].rows;
        if (left <= budget) {
          ASSERT_EQ(rows, left);
          continue;
        }
        ASSERT_GE(2 * rows, budget);
        const bool at_boundary = (position + rows) % chunk == 0;
        const int32_t boundary = (position + budget) / chunk * chunk;
        if (2 * (boundary - position) >= budget) {
          ASSERT_TRUE(at_boundary);
        } else {
          ASSERT_EQ(rows, budget);
        }
      }
    }
  }
}

TEST_F(SchedulerTest, LongPromptsDoNotStallDecodes) {
  Scheduler scheduler(8, 4);
  Sequence* decoding = Started(scheduler, Make(1));
  RunStep(scheduler);
  for (int i = 0; i < 10; ++i) Started(scheduler, Make(500, 1, /*priority=*/3));
  for (int step = 0; step < 100; ++step) ASSERT_EQ(RowsOf(RunStep(scheduler), decoding), 1);
}

TEST_F(SchedulerTest, ShortPromptsDoNotWaitBehindLongOnes) {
  Scheduler scheduler(64, 4);
  std::vector<Sequence*> long_ones;
  for (int i = 0; i < 5; ++i) long_ones.push_back(Started(scheduler, Make(10000)));
  RunStep(scheduler);
  Sequence* shorter = Started(scheduler, Make(30));
  Sequence* shortest = Started(scheduler, Make(2));
  const std::vector<ScheduledRows> pieces = RunStep(scheduler);
  EXPECT_EQ(RowsOf(pieces, shorter), 30);
  EXPECT_EQ(RowsOf(pieces, shortest), 2);
  EXPECT_EQ(RowsOf(pieces, long_ones[0]), 32);
}

TEST_F(SchedulerTest, TheFirstPromptHasHalfOfTheRowsHoweverManyShortOnesCome) {
  Scheduler scheduler(64, 4);
  Sequence* first = Started(scheduler, Make(1000));
  for (int step = 0; !first->decoding(); ++step) {
    ASSERT_LE(step, 1000 / 32);
    for (int i = 0; i < 10; ++i) Started(scheduler, Make(20, 1));
    RunStep(scheduler);
  }
}

TEST_F(SchedulerTest, ShortPromptsDoNotPassMoreUrgentLongOnes) {
  Scheduler scheduler(64, 4);
  Sequence* urgent = Started(scheduler, Make(1000, 10, /*priority=*/1));
  Sequence* second = Started(scheduler, Make(1000, 10, /*priority=*/1));
  Sequence* brief = Started(scheduler, Make(2));
  const std::vector<ScheduledRows> pieces = RunStep(scheduler);
  EXPECT_EQ(RowsOf(pieces, urgent), 64);
  EXPECT_EQ(RowsOf(pieces, second), 0);
  EXPECT_EQ(RowsOf(pieces, brief), 0);
}

TEST_F(SchedulerTest, DecodesThatDoNotFitTakeTurns) {
  constexpr int32_t kBudget = 4;
  constexpr int32_t kDecoding = 11;
  Scheduler scheduler(kBudget, 4);
  for (int i = 0; i < kDecoding; ++i) Started(scheduler, Make(1));
  std::map<const Sequence*, int> last_step;
  int step = 0;
  while (last_step.size() < kDecoding) {  // until all prompts are done
    for (const ScheduledRows& piece : RunStep(scheduler)) last_step[piece.sequence] = step;
    ASSERT_LT(++step, 2 * kDecoding);
  }
  for (int end = step + 50; step < end; ++step) {
    const std::vector<ScheduledRows> pieces = RunStep(scheduler);
    ASSERT_EQ(pieces.size(), kBudget);
    for (const ScheduledRows& piece : pieces) last_step[piece.sequence] = step;
    for (const auto& [sequence, last] : last_step) ASSERT_LT(step - last, 3);
  }
}

TEST_F(SchedulerTest, DecodesDoNotStallPrompts) {
  for (int32_t budget : {2, 8, 64}) {
    Scheduler scheduler(budget, 4);
    for (int i = 0; i < 2 * budget; ++i) Started(scheduler, Make(1));
    for (int step = 0; step < 3 * budget; ++step) RunStep(scheduler);
    Sequence* prompt = Started(scheduler, Make(1000));
    const std::vector<ScheduledRows> pieces = RunStep(scheduler);
    EXPECT_EQ(RowsOf(pieces, prompt), std::max(1, budget / 8));
    EXPECT_EQ(pieces.size(), budget - std::max(1, budget / 8) + 1) << "the rest goes to decodes";
  }
}

// With more sequences than rows, whoever has a slot ends.
TEST_F(SchedulerTest, EverybodyEnds) {
  for (uint32_t seed = 0; seed < 20; ++seed) {
    std::mt19937 random(seed);
    Scheduler scheduler(1 + random() % 6, 4);
    const size_t before = sequences_.size();
    int64_t rows = 0;
    for (int i = 0; i < 30; ++i) {
      const int32_t prompt = 1 + random() % 50;
      const int32_t output = 1 + random() % 30;
      Started(scheduler, Make(prompt, output, static_cast<int32_t>(random() % 3)));
      rows += prompt + output - 1;
    }
    for (; scheduler.running() > 0; --rows) {
      ASSERT_GE(rows, 0) << "a step gives at least one row";
      RunStep(scheduler);
    }
    for (size_t i = before; i < sequences_.size(); ++i) EXPECT_TRUE(sequences_[i]->finished());
  }
}

TEST_F(SchedulerTest, ForgetsWhoIsRemoved) {
  Scheduler scheduler(8, 4);
  Sequence* waiting = Make(4);
  scheduler.Enqueue(waiting);
  Sequence* decoding = Started(scheduler, Make(1));
  RunStep(scheduler);
  RunStep(scheduler);
  Sequence* prompt = Started(scheduler, Make(50));
  EXPECT_EQ(scheduler.waiting(), 1);
  EXPECT_EQ(scheduler.running(), 2);
  for (Sequence* sequence : {waiting, decoding, prompt}) scheduler.Remove(sequence);
  EXPECT_EQ(scheduler.waiting(), 0);
  EXPECT_EQ(scheduler.running(), 0);
  EXPECT_TRUE(scheduler.NextBatch(Unlimited).empty());
}

}  // namespace
}  // namespace retnet
