#include "engine/scheduling/step_cost.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>

namespace retnet {
namespace {

// Microseconds of a step, to be learned.
struct Line {
  double step;
  double decoding;
  double prompt;

  absl::Duration operator()(int32_t decoding_rows, int32_t prompt_rows) const {
    return absl::Microseconds(step + decoding * decoding_rows + prompt * prompt_rows);
  }
};

constexpr Line kLines[] = {{100, 50, 30}, {80'000, 200, 6'000}, {0, 10, 10}, {500, 0, 1}};

void ObserveMix(const Line& line, int steps, std::mt19937& random, StepCost& cost) {
  for (int i = 0; i < steps; ++i) {
    const int32_t decoding = random() % 32;
    const int32_t prompt = random() % 2 == 0 ? 0 : 1 + random() % 200;
    if (decoding + prompt > 0) cost.Observe(decoding, prompt, line(decoding, prompt));
  }
}

void ExpectNear(absl::Duration got, absl::Duration want) {
  EXPECT_LT(absl::AbsDuration(got - want), 0.05 * want) << got << " for " << want;
}

TEST(StepCost, LearnsWhatRowsCost) {
  for (const Line& line : kLines) {
    std::mt19937 random(1);
    StepCost cost;
    ObserveMix(line, 300, random, cost);
    ExpectNear(cost.Expected(8, 0), line(8, 0));
    ExpectNear(cost.Expected(8, 100), line(8, 100));
    ExpectNear(cost.Expected(31, 7), line(31, 7));
  }
}

TEST(StepCost, FollowsACostThatChanges) {
  std::mt19937 random(2);
  StepCost cost;
  const Line slower = {.step = 250, .decoding = 100, .prompt = 90};  // the machine is shared now
  ObserveMix(kLines[0], 500, random, cost);
  ObserveMix(slower, 300, random, cost);
  ExpectNear(cost.Expected(8, 20), slower(8, 20));
}

TEST(StepCost, KeepsWhatItKnowsWhileOneSizeRuns) {
  std::mt19937 random(3);
  StepCost cost;
  ObserveMix(kLines[0], 300, random, cost);
  for (int i = 0; i < 10'000; ++i) cost.Observe(8, 0, kLines[0](8, 0));
  ExpectNear(cost.Expected(8, 0), kLines[0](8, 0));
  ExpectNear(cost.Expected(8, 100), kLines[0](8, 100));
}

TEST(StepCost, IsHardlyMovedByAStepThatWasHeldUp) {
  std::mt19937 random(4);
  StepCost cost;
  ObserveMix(kLines[0], 300, random, cost);
  cost.Observe(8, 0, 100 * kLines[0](8, 0));
  ExpectNear(cost.Expected(8, 0), kLines[0](8, 0));
}

TEST(StepCost, FillsAStepWithPromptRowsUpToTheLimit) {
  for (const Line& line : kLines) {
    std::mt19937 random(5);
    StepCost cost;
    ObserveMix(line, 300, random, cost);
    const absl::Duration limit = 3 * line(8, 0);
    const int32_t rows = cost.PromptRows(8, limit);
    EXPECT_LE(line(8, rows), 1.05 * limit);
    EXPECT_GE(line(8, rows + 1), 0.95 * limit);
  }
}

TEST(StepCost, AlwaysAllowsPromptsHalfOfTheDecodingRowsTime) {
  for (const Line& line : kLines) {
    std::mt19937 random(6);
    StepCost cost;
    ObserveMix(line, 300, random, cost);
    EXPECT_EQ(cost.PromptRows(8, absl::ZeroDuration()),
              cost.PromptRows(8, 1.5 * cost.Expected(8, 0)));
    EXPECT_GE(cost.PromptRows(8, absl::ZeroDuration()), 1);
  }
}

TEST(StepCost, LearnsFromPromptsThatNeverPause) {
  const Line& line = kLines[0];
  StepCost cost;
  const absl::Duration limit = absl::Milliseconds(2);
  int steps_without_prompts = 0;
  for (int step = 0; step < 300; ++step) {
    const int32_t decoding = 6 + step / 7 % 3;
    const int32_t prompt = std::min(cost.PromptRows(decoding, limit), 512);
    steps_without_prompts += prompt == 0;
    cost.Observe(decoding, prompt, line(decoding, prompt));
  }
  ExpectNear(cost.Expected(8, 0), line(8, 0));
  ExpectNear(cost.Expected(7, 30), line(7, 30));
  EXPECT_GT(steps_without_prompts, 0);
  EXPECT_LE(steps_without_prompts, 300 / 16);
}

TEST(StepCost, AllowsAnyNumberUntilRowsHaveACost) {
  StepCost cost;
  EXPECT_GT(cost.PromptRows(8, absl::ZeroDuration()), 1 << 20);
  EXPECT_EQ(cost.Expected(8, 100), absl::ZeroDuration());
  cost.Observe(0, 100, absl::ZeroDuration());  // a clock that stood still
  EXPECT_EQ(cost.Expected(8, 100), absl::ZeroDuration());
  EXPECT_GT(cost.PromptRows(8, absl::InfiniteDuration()), 1 << 20);
}

}  // namespace
}  // namespace retnet
