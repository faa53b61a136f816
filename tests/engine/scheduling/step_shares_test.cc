#include "engine/scheduling/step_shares.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <random>

namespace retnet {
namespace {

constexpr StepCost::Times kTimes = {.step = 0.3, .decoding_row = 0.15, .prompt_row = 0.1};

double TimeOf(const TenantRows& rows, const StepCost::Times& times) {
  return times.decoding_row * rows.decoding + times.prompt_row * rows.prompt;
}

TEST(ShareStep, AFloodTakesAtMostAsLongAgainAsItsVictim) {
  const std::vector<TenantRows> rows = ShareStep(
      std::vector<TenantRows>{{.decoding = 64, .share = 0.5}, {.decoding = 1, .share = 0.5}},
      /*max_rows=*/512, kTimes);
  EXPECT_EQ(rows[1].decoding, 1);
  EXPECT_EQ(rows[0].decoding, 3) << "0.3 + 4 · 0.15 is twice 0.3 + 0.15";
}

TEST(ShareStep, KnowsOnlyRowsBeforeTimesAreKnown) {
  const std::vector<TenantRows> rows = ShareStep(
      std::vector<TenantRows>{{.prompt = 600, .share = 0.5}, {.decoding = 3, .share = 0.5}},
      /*max_rows=*/512, {});
  EXPECT_EQ(rows[0].prompt, 509);
  EXPECT_EQ(rows[1].decoding, 3);
}

TEST(ShareStep, RowsThatCostNothingAreNotHeldBack) {
  const std::vector<TenantRows> rows = ShareStep(
      std::vector<TenantRows>{{.decoding = 64, .share = 0.5}, {.decoding = 1, .share = 0.5}},
      /*max_rows=*/512, {.step = 1.0});
  EXPECT_EQ(rows[0].decoding, 64);
  EXPECT_EQ(rows[1].decoding, 1);
}

// The claims of the header, over random tenants.
TEST(ShareStep, KeepsItsPromisesForAllTenants) {
  std::mt19937 random(1);
  for (int round = 0; round < 20000; ++round) {
    const int32_t max_rows = 1 + random() % 600;
    const StepCost::Times times = {.step = random() % 100 / 100.0,
                                   .decoding_row = random() % 20 / 100.0,
                                   .prompt_row = random() % 20 / 100.0};
    std::vector<TenantRows> wanted(1 + random() % 6);
    double weights = 0.0;
    for (TenantRows& rows : wanted) {
      rows.decoding = random() % 2 == 0 ? random() % 100 : 0;
      rows.prompt = rows.decoding == 0 || random() % 2 == 0 ? 1 + random() % 600 : 0;
      weights += rows.share = 0.1 + random() % 10;
    }
    for (TenantRows& rows : wanted) rows.share /= weights;
    const std::vector<TenantRows> given = ShareStep(wanted, max_rows, times);
    ASSERT_EQ(given.size(), wanted.size());
    double bearable = std::numeric_limits<double>::infinity();
    double took = times.step;
    int32_t rows = 0;
    bool least_only = false;
    for (size_t i = 0; i < wanted.size(); ++i) {
      ASSERT_LE(given[i].decoding, wanted[i].decoding);
      ASSERT_LE(given[i].prompt, wanted[i].prompt);
      ASSERT_GE(given[i].decoding + given[i].prompt, 1);
      least_only = least_only || given[i].decoding + given[i].prompt == 1;
      ASSERT_TRUE(given[i].decoding == wanted[i].decoding || given[i].prompt == 0);
      TenantRows alone = wanted[i];
      alone.decoding = std::min(alone.decoding, max_rows);
      alone.prompt = std::min(alone.prompt, max_rows);
      bearable = std::min(bearable, (times.step + TimeOf(alone, times)) / wanted[i].share);
      took += TimeOf(given[i], times);
      rows += given[i].decoding + given[i].prompt;
    }
    const double row = std::max(times.decoding_row, times.prompt_row);
    if (!least_only) {
      ASSERT_LE(rows, max_rows);
      ASSERT_LE(took, bearable * (1 + 1e-6));
    } else {
      ASSERT_LE(took, bearable * (1 + 1e-6) + row * static_cast<double>(wanted.size()));
    }
  }
}

}  // namespace
}  // namespace retnet
