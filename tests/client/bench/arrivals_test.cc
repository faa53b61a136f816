#include "client/bench/arrivals.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace retnet {
namespace {

using ::testing::Each;

std::vector<double> Times(const ArrivalOptions& options, uint64_t seed = 1) {
  Arrivals arrivals(options, seed);
  std::vector<double> times(20000);
  for (double& time : times) time = arrivals.Next();
  return times;
}

// Deviation over mean of the times between arrivals.
double Variation(const std::vector<double>& times) {
  double squares = 0;
  const double mean = times.back() / times.size();
  for (size_t i = 0; i < times.size(); ++i) {
    const double gap = times[i] - (i == 0 ? 0 : times[i - 1]);
    squares += (gap - mean) * (gap - mean);
  }
  return std::sqrt(squares / times.size()) / mean;
}

TEST(Arrivals, ComeAtTheRateWhateverTheirBurstiness) {
  for (const double burstiness : {0.25, 1.0, 4.0}) {
    const std::vector<double> times = Times({.request_rate = 50, .burstiness = burstiness});
    EXPECT_TRUE(std::is_sorted(times.begin(), times.end()));
    EXPECT_NEAR(times.size() / times.back(), 50, 3) << burstiness;  // 4 deviations at 0.25
    EXPECT_NEAR(Variation(times), 1 / std::sqrt(burstiness), 0.1 / std::sqrt(burstiness));
  }
}

TEST(Arrivals, OfInfiniteBurstinessAreAMetronome) {
  const std::vector<double> times =
      Times({.request_rate = 10, .burstiness = std::numeric_limits<double>::infinity()});
  for (size_t i = 0; i < times.size(); ++i) ASSERT_NEAR(times[i], 0.1 * (i + 1), 1e-6);
}

TEST(Arrivals, OfBurstsComeTogetherAtTheSameRate) {
  const std::vector<double> times = Times({.request_rate = 50, .burst_size = 10});
  for (size_t i = 0; i < times.size(); i += 10) {
    for (size_t j = i; j < i + 10; ++j) ASSERT_EQ(times[j], times[i]);
    if (i > 0) {
      ASSERT_GT(times[i], times[i - 1]);
    }
  }
  EXPECT_NEAR(times.size() / times.back(), 50, 5);
}

TEST(Arrivals, OfAnInfiniteRateAreAllAtOnce) { EXPECT_THAT(Times({}), Each(0)); }

TEST(Arrivals, AreTheSameForTheSameSeed) {
  const ArrivalOptions options = {.request_rate = 3, .burstiness = 0.5};
  EXPECT_EQ(Times(options, 7), Times(options, 7));
  EXPECT_NE(Times(options, 7), Times(options, 8));
}

}  // namespace
}  // namespace retnet
