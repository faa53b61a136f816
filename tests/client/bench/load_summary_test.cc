#include "client/bench/load_summary.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace retnet {
namespace {

using ::testing::ElementsAre;
using ::testing::Pointwise;

MATCHER(Nearly, "") { return std::abs(std::get<0>(arg) - std::get<1>(arg)) < 1e-4; }

// First token after 100 ms, then one every 10 ms but for a last one after 50.
RequestRecord Completed(double sent) {
  RequestRecord record;
  record.outcome = Outcome::kCompleted;
  record.due = sent - 0.001;
  record.sent = sent;
  record.first_token = sent + 0.1;
  record.first_tokens = 1;
  record.later = {
      {.gap = 0.01f, .tokens = 1}, {.gap = 0.01f, .tokens = 2}, {.gap = 0.05f, .tokens = 1}};
  record.ended = sent + 0.2;
  record.prompt_tokens = 7;
  record.output_tokens = 5;
  record.server = ServerTimings{.queued = 0.01, .prefill = 0.08, .decode = 0.06};
  return record;
}

RequestRecord Ended(Outcome outcome, double sent, double ended) {
  RequestRecord record;
  record.outcome = outcome;
  record.due = record.sent = sent;
  record.ended = ended;
  return record;
}

TEST(LoadSummary, HasTheLatenciesOfWhatCompleted) {
  LoadResult result;
  result.records = {Completed(0), Ended(Outcome::kCancelled, 0, 0.3)};
  result.seconds = 2;
  const LoadSummary summary = Summarize(result, {});
  EXPECT_THAT(summary.latencies.ttft.sorted(), Pointwise(Nearly(), {100.0}));
  EXPECT_THAT(summary.latencies.itl.sorted(), Pointwise(Nearly(), {10.0, 10.0, 50.0}));
  EXPECT_THAT(summary.latencies.tpot.sorted(), Pointwise(Nearly(), {70.0 / 4}));
  EXPECT_THAT(summary.latencies.e2el.sorted(), Pointwise(Nearly(), {200.0}));
  EXPECT_THAT(summary.latencies.queued.sorted(), Pointwise(Nearly(), {10.0}));
  EXPECT_THAT(summary.latencies.prefill.sorted(), Pointwise(Nearly(), {80.0}));
  EXPECT_THAT(summary.latencies.decode.sorted(), Pointwise(Nearly(), {15.0}));
  EXPECT_THAT(summary.latencies.ttft_beyond_server.sorted(), Pointwise(Nearly(), {10.0}));
  EXPECT_EQ(summary.input_tokens, 7);
  EXPECT_EQ(summary.output_tokens, 5);
  EXPECT_DOUBLE_EQ(summary.tokens_per_message, 1.25);
}

TEST(LoadSummary, CountsEveryRequestOnceAndFailuresByStatus) {
  LoadResult result;
  result.records = {Completed(0), Ended(Outcome::kVanished, 0, 1), Ended(Outcome::kDawdled, 0, 1),
                    Ended(Outcome::kFailed, 0, 1), Ended(Outcome::kFailed, 0, 1)};
  result.records[3].status = {grpc::StatusCode::RESOURCE_EXHAUSTED, "full"};
  result.records[4].status = {grpc::StatusCode::RESOURCE_EXHAUSTED, "still full"};
  result.seconds = 1;
  const LoadSummary summary = Summarize(result, {});
  EXPECT_EQ(summary.total(), 5);
  EXPECT_EQ(summary.count(Outcome::kCompleted), 1);
  EXPECT_EQ(summary.count(Outcome::kInterrupted), 0);
  ASSERT_EQ(summary.failures.size(), 1);
  EXPECT_EQ(summary.failures.at(grpc::StatusCode::RESOURCE_EXHAUSTED).count, 2);
  EXPECT_EQ(summary.failures.at(grpc::StatusCode::RESOURCE_EXHAUSTED).message, "full");
}

TEST(LoadSummary, KnowsHowManyRanAtOnce) {
  LoadResult result;
  result.records = {Ended(Outcome::kCompleted, 0, 1), Ended(Outcome::kCompleted, 0.5, 2),
                    Ended(Outcome::kCompleted, 1, 3), Ended(Outcome::kCompleted, 1.5, 1.75)};
  result.seconds = 4;
  const LoadSummary summary = Summarize(result, {});
  EXPECT_EQ(summary.peak_running, 3);  // the third begins as the first ends
  EXPECT_DOUBLE_EQ(summary.mean_running, 4.75 / 4);
}

TEST(LoadSummary, FindsTheBestSecondOfAllRequests) {
  LoadResult result;
  result.records = {Completed(0), Completed(1.2), Completed(1.3), Completed(1.85)};
  result.records[1].outcome = Outcome::kCancelled;
  result.seconds = 2.05;
  const LoadSummary summary = Summarize(result, {});
  // 10 of the second and third; of the fourth those before 2.
  EXPECT_EQ(summary.peak_output_rate, 14);
  EXPECT_EQ(summary.received_tokens, 20);
}

TEST(LoadSummary, CountsAsGoodWhatKeepsEveryGoal) {
  LoadResult result;
  result.records = {Completed(0), Completed(1), Ended(Outcome::kFailed, 0, 1)};
  result.records[1].later[1].gap = 0.03f;
  result.seconds = 2;
  const auto good = [&](const GoodputGoals& goals) { return Summarize(result, goals).good; };
  EXPECT_EQ(good({.ttft = 101}), 2);
  EXPECT_EQ(good({.ttft = 99}), 0);
  EXPECT_EQ(good({.ttft = 101, .tpot = 18}), 1);
  EXPECT_EQ(good({.itl = 51}), 2);
  EXPECT_EQ(good({.itl = 49}), 0);
  EXPECT_EQ(good({.itl = 51, .e2el = 199}), 0);
}

TEST(LoadSummary, TellsWhatTheClientItselfCosts) {
  LoadResult result;
  result.records = {Completed(0.5), Ended(Outcome::kFailed, 1, 2)};
  result.seconds = 2;
  result.cpu_seconds = 0.5;
  result.delays = {0.003f, 0.001f};
  const LoadSummary summary = Summarize(result, {});
  EXPECT_DOUBLE_EQ(summary.client.cpu_share, 0.25);
  EXPECT_THAT(summary.client.delay_bounds.sorted(), Pointwise(Nearly(), {1.0, 3.0}));
  EXPECT_THAT(summary.client.send_lags.sorted(), Pointwise(Nearly(), {0.0, 1.0}));
}

TEST(LoadSummary, OfNothingHasNoLatenciesAndNoTokens) {
  const LoadSummary summary = Summarize(LoadResult(), {});
  EXPECT_EQ(summary.total(), 0);
  EXPECT_TRUE(summary.latencies.ttft.empty());
  EXPECT_EQ(summary.peak_running, 0);
  EXPECT_EQ(summary.mean_running, 0);
}

}  // namespace
}  // namespace retnet
