#include "client/bench/lengths.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace retnet {
namespace {

using ::testing::Each;
using ::testing::Ge;
using ::testing::HasSubstr;
using ::testing::Le;

std::vector<double> Draws(const Lengths& lengths, int32_t bound = 1 << 20, uint64_t seed = 1) {
  std::mt19937_64 random(seed);
  std::vector<double> draws(20000);
  for (double& draw : draws) draw = lengths.Draw(bound, &random);
  return draws;
}

double Mean(const std::vector<double>& values) {
  double sum = 0;
  for (const double value : values) sum += value;
  return sum / values.size();
}

TEST(Lengths, OfANumberAreThatNumber) {
  EXPECT_THAT(Draws(*Lengths::Parse("37")), Each(37));
  EXPECT_THAT(Draws(*Lengths::Parse("37"), 20), Each(20));
}

TEST(Lengths, OfAUniformRangeReachBothEndsAndTheMiddle) {
  const std::vector<double> draws = Draws(*Lengths::Parse("uniform:10:30"));
  EXPECT_EQ(*std::min_element(draws.begin(), draws.end()), 10);
  EXPECT_EQ(*std::max_element(draws.begin(), draws.end()), 30);
  EXPECT_NEAR(Mean(draws), 20, 0.2);  // the deviation of the mean is 0.043
}

TEST(Lengths, OfALognormalDistributionHaveItsMeanAndSpread) {
  const std::vector<double> draws = Draws(*Lengths::Parse("lognormal:200:0.5"));
  EXPECT_NEAR(Mean(draws), 200, 4);  // deviation 0.75
  std::vector<double> logarithms;
  for (const double draw : draws) logarithms.push_back(std::log(draw));
  const double mean = Mean(logarithms);
  double squares = 0;
  for (const double value : logarithms) squares += (value - mean) * (value - mean);
  EXPECT_NEAR(std::sqrt(squares / draws.size()), 0.5, 0.015);
  EXPECT_THAT(Draws(*Lengths::Parse("lognormal:2:3"), 50), Each(testing::AllOf(Ge(1), Le(50))));
}

TEST(Lengths, AreTheSameForTheSameSeed) {
  const Lengths lengths = *Lengths::Parse("lognormal:200:0.5");
  EXPECT_EQ(Draws(lengths, 1000, 7), Draws(lengths, 1000, 7));
  EXPECT_NE(Draws(lengths, 1000, 7), Draws(lengths, 1000, 8));
}

TEST(Lengths, AreSpreadByARatioUnlessTheyVaryAnyway) {
  const std::vector<double> draws = Draws(Lengths(100).Spread(0.2));
  EXPECT_EQ(*std::min_element(draws.begin(), draws.end()), 80);
  EXPECT_EQ(*std::max_element(draws.begin(), draws.end()), 120);
  EXPECT_EQ(Lengths(100).Spread(0.2).Greatest(), 120);
  EXPECT_THAT(Draws(Lengths(1).Spread(1)), Each(Ge(1)));
  EXPECT_EQ(Lengths::Uniform(5, 9).Spread(0.5).Greatest(), 9);
}

TEST(Lengths, RefuseWhatTheyAreNot) {
  for (const char* text : {"", "0", "-3", "many", "1.5", "uniform:5", "uniform:9:5", "uniform:0:5",
                           "lognormal:0:1", "lognormal:5:-1", "lognormal:5:nan", "normal:5:1"}) {
    EXPECT_FALSE(Lengths::Parse(text).ok()) << text;
  }
  EXPECT_THAT(std::string(Lengths::Parse("uniform:9:x").status().message()),
              HasSubstr("x is not a length, 1 to"));
}

}  // namespace
}  // namespace retnet
