#include "client/bench/samples.h"

#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace retnet {
namespace {

using ::testing::ElementsAre;

TEST(Samples, InterpolateBetweenNeighboursAsNumpyDoes) {
  // numpy.percentile([4, 1, 3, 2], [0, 25, 50, 90, 99, 100])
  const Samples samples({4, 1, 3, 2});
  EXPECT_DOUBLE_EQ(samples.Percentile(0), 1);
  EXPECT_DOUBLE_EQ(samples.Percentile(25), 1.75);
  EXPECT_DOUBLE_EQ(samples.Percentile(50), 2.5);
  EXPECT_DOUBLE_EQ(samples.Percentile(90), 3.7);
  EXPECT_DOUBLE_EQ(samples.Percentile(99), 3.97);
  EXPECT_DOUBLE_EQ(samples.Percentile(100), 4);
  EXPECT_THAT(samples.sorted(), ElementsAre(1, 2, 3, 4));
}

TEST(Samples, OfOneAreAllThatOne) {
  const Samples samples({7});
  for (const double percent : {0, 50, 99, 100}) EXPECT_EQ(samples.Percentile(percent), 7);
  EXPECT_EQ(samples.Mean(), 7);
  EXPECT_EQ(samples.StandardDeviation(), 0);
}

TEST(Samples, DeviateAsAWholePopulation) {
  const Samples samples({2, 4, 4, 4, 5, 5, 7, 9});
  EXPECT_DOUBLE_EQ(samples.Mean(), 5);
  EXPECT_DOUBLE_EQ(samples.StandardDeviation(), 2);
  EXPECT_EQ(samples.Greatest(), 9);
}

}  // namespace
}  // namespace retnet
