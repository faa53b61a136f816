#include "client/bench/timeline.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace retnet {
namespace {

using ::testing::DoubleNear;
using ::testing::ElementsAre;
using ::testing::SizeIs;

RequestRecord Record(double sent, double first, double ended) {
  RequestRecord record;
  record.sent = sent;
  record.first_token = first;
  record.first_tokens = 1;
  record.ended = ended;
  return record;
}

TEST(Timeline, CountsTokensAndAveragesRequestsInEachInterval) {
  LoadResult result;
  result.records = {Record(0, 0.5, 2), Record(1, 2.5, 4)};
  result.records[0].later = {{.gap = 1.25f, .tokens = 3}};  // at 1.75
  result.seconds = 4;
  const Timeline timeline = MakeTimeline(result, 4);
  EXPECT_EQ(timeline.interval, 1);
  EXPECT_THAT(timeline.tokens_per_second, ElementsAre(1, 3, 1, 0));
  EXPECT_THAT(timeline.waiting, ElementsAre(0.5, 1, 0.5, 0));
  EXPECT_THAT(timeline.streaming, ElementsAre(0.5, 1, 0.5, 1));
}

TEST(Timeline, KeepsAWholeRunsTokensAndSecondsWhateverItsIntervals) {
  LoadResult result;
  for (int i = 0; i < 50; ++i)
    result.records.push_back(Record(i * 0.1, i * 0.1 + 0.3, i * 0.1 + 1));
  result.seconds = 5.9;
  for (const int intervals : {1, 7, 120}) {
    const Timeline timeline = MakeTimeline(result, intervals);
    double tokens = 0;
    double waiting = 0;
    double streaming = 0;
    for (size_t i = 0; i < timeline.waiting.size(); ++i) {
      tokens += timeline.tokens_per_second[i] * timeline.interval;
      waiting += timeline.waiting[i] * timeline.interval;
      streaming += timeline.streaming[i] * timeline.interval;
    }
    EXPECT_THAT(tokens, DoubleNear(50, 1e-9));
    EXPECT_THAT(waiting, DoubleNear(50 * 0.3, 1e-9));
    EXPECT_THAT(streaming, DoubleNear(50 * 0.7, 1e-9));
  }
}

TEST(Timeline, HasNoIntervalsWithoutARunAndFewOfAShortOne) {
  EXPECT_THAT(MakeTimeline(LoadResult(), 100).waiting, SizeIs(0));
  LoadResult result;
  result.records = {Record(0, 0.01, 0.02)};
  result.seconds = 0.02;
  EXPECT_THAT(MakeTimeline(result, 100).waiting, SizeIs(1));
}

}  // namespace
}  // namespace retnet
