#include "client/bench/table.h"

#include <cmath>
#include <limits>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace retnet {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

TEST(BenchTable, RoundsFiguresToThreeDigits) {
  const std::pair<double, const char*> cases[] = {
      {0, "0"},          {0.3, "0.300"},       {0.01234, "0.0123"}, {0.99951, "1.00"},
      {1.234, "1.23"},   {9.999, "10.0"},      {12.34, "12.3"},     {99.96, "100"},
      {123.4, "123"},    {999.6, "1,000"},     {12345.6, "12,346"}, {1234567, "1,234,567"},
      {-0.25, "-0.250"}, {-123456, "-123,456"}};
  for (const auto& [value, text] : cases) EXPECT_EQ(Figure(value), text);
}

BenchRun FinishedRun() {
  BenchRun run{.point = {std::numeric_limits<double>::infinity(), 4}, .result = {}, .summary = {}};
  run.summary.seconds = 2;
  run.summary.requests[Outcome::kCompleted] = 10;
  run.summary.requests[Outcome::kVanished] = 3;
  run.summary.output_tokens = 500;
  run.summary.latencies.ttft = Samples({1, 2, 3});
  return run;
}

TEST(BenchTable, ShowsRatesLatenciesAndWhatWasProvoked) {
  const std::string table = RunTable(BenchOptions(), FinishedRun());
  EXPECT_THAT(table, HasSubstr("4 at once"));
  EXPECT_THAT(table, HasSubstr("10 completed, 0 failed, 3 vanished on purpose"));
  EXPECT_THAT(table, HasSubstr("5.00 req/s"));
  EXPECT_THAT(table, HasSubstr("250 tok/s"));
  EXPECT_THAT(table, HasSubstr("TTFT                                  2.00      2.00      2.80"));
  EXPECT_THAT(table, HasSubstr("ITL                                      -         -"));
  EXPECT_THAT(table, Not(HasSubstr("goodput")));
  EXPECT_THAT(table, Not(HasSubstr("after they were due")));  // nothing is due in a closed loop
}

TEST(BenchTable, NamesEachStatusThatRequestsFailedWith) {
  LoadSummary summary;
  EXPECT_EQ(FailureLines("8 req/s", summary), "");
  summary.failures[grpc::StatusCode::RESOURCE_EXHAUSTED] = {.count = 7, .message = "full"};
  EXPECT_EQ(FailureLines("8 req/s", summary),
            "8 req/s: failed with RESOURCE_EXHAUSTED: 7 (full)\n");
}

}  // namespace
}  // namespace retnet
