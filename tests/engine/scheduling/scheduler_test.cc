#include "engine/scheduling/scheduler.h"

#include <gtest/gtest.h>

#include <limits>
#include <map>
#include <memory>
#include <random>
#include <vector>

namespace retnet {
namespace {

int32_t Unlimited(int32_t) { return std::numeric_limits<int32_t>::max(); }

// Sequences that run without a model: every sampled token is 0.
class SchedulerTest : public testing::Test {
 protected:
  Sequence* Make(int32_t prompt_tokens, int32_t max_tokens = 1000, int32_t priority = 0,
                 const char* tenant = "") {
    Request request;
    request.tenant.principal = tenant;
    request.prompt.assign(prompt_tokens, 0);
    request.max_tokens = max_tokens;
    request.priority = priority;
    sequences_.push_back(
        std::make_unique<Sequence>(std::move(request), nullptr, 1 << 20, absl::UnixEpoch()));
    sequences_.back()->set_id(sequences_.size());
    return sequences_.back().get();
  }

  Sequence* Started(Scheduler& scheduler, Sequence* sequence) {
    scheduler.Enqueue(sequence);
    scheduler.TakeSlot(sequence);
    scheduler.Add(sequence);
    return sequence;
  }

  // One step; returns its pieces. Sequences that finish are removed.
  std::vector<ScheduledRows> RunStep(Scheduler& scheduler,
                                     Scheduler::PromptBudget prompt_budget = Unlimited,
                                     const StepCost::Times& times = {}) {
    const std::span<const ScheduledRows> batch = scheduler.NextBatch(prompt_budget, times);
    const std::vector<ScheduledRows> pieces(batch.begin(), batch.end());
    for (const auto& [sequence, rows] : pieces) {
      std::vector<RowOutput> outputs;
      outputs.reserve(rows);
      sequence->NextSegment(rows, &outputs);
      const std::vector<SampleResult> results(outputs.size(), SampleResult{.token = 0, .top = {}});
      sequence->Accept(rows, results, absl::UnixEpoch());
      if (sequence->finished()) scheduler.Remove(sequence);
    }
    return pieces;
  }

  static int32_t RowsOf(const std::vector<ScheduledRows>& pieces, const Sequence* sequence) {
    int32_t rows = 0;
    for (const ScheduledRows& piece : pieces) rows += piece.sequence == sequence ? piece.rows : 0;
    return rows;
  }

  std::vector<std::unique_ptr<Sequence>> sequences_;
};

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
