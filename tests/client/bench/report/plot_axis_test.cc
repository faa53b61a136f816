#include "client/bench/report/plot_axis.h"

#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace retnet {
namespace {

using ::testing::ElementsAre;

std::vector<std::string> Texts(const PlotAxis& axis) {
  std::vector<std::string> texts;
  for (const auto& [value, text] : axis.ticks()) texts.push_back(text);
  return texts;
}

TEST(PlotAxis, EndsAtARoundNumberAndBeginsAtZero) {
  const PlotAxis axis = PlotAxis::Linear("tok/s", 4321);
  EXPECT_THAT(Texts(axis), ElementsAre("0", "1,000", "2,000", "3,000", "4,000", "5,000"));
  EXPECT_DOUBLE_EQ(axis.Place(2500), 0.5);
  EXPECT_EQ(axis.Place(9999), 1);
  EXPECT_THAT(Texts(PlotAxis::Linear("", 0.9)), ElementsAre("0", "0.2", "0.4", "0.6", "0.8", "1"));
  EXPECT_EQ(PlotAxis::Linear("", 0).Place(0), 0);
}

TEST(PlotAxis, OfLogarithmsHasDecadesOrTheirParts) {
  const PlotAxis axis = PlotAxis::Logarithmic("ms", 0.3, 7);
  EXPECT_THAT(Texts(axis), ElementsAre("0.2", "0.5", "1", "2", "5", "10"));
  EXPECT_EQ(axis.Place(0.2), 0);
  EXPECT_EQ(axis.Place(0.01), 0);
  EXPECT_DOUBLE_EQ(axis.Place(10), 1);
  EXPECT_THAT(Texts(PlotAxis::Logarithmic("ms", 0.02, 400)),
              ElementsAre("0.01", "0.1", "1", "10", "100", "1,000"));
  EXPECT_THAT(Texts(PlotAxis::Logarithmic("ms", 1, 10)), ElementsAre("1", "2", "5", "10"));
}

TEST(PlotAxis, SpansExactlyWhatItIsToldTo) {
  const PlotAxis axis = PlotAxis::Span("seconds", 16.9);
  EXPECT_THAT(Texts(axis), ElementsAre("0", "5", "10", "15"));
  EXPECT_DOUBLE_EQ(axis.Place(16.9), 1);
}

TEST(PlotAxis, IsLogarithmicWhereValuesDifferMuch) {
  EXPECT_EQ(PlotAxis::Fitting("ms", {2, 3, 4}).Place(0), 0);
  EXPECT_THAT(Texts(PlotAxis::Fitting("ms", {2, 30})), ElementsAre("2", "5", "10", "20", "50"));
  EXPECT_THAT(Texts(PlotAxis::Fitting("ms", {0, 30})), ElementsAre("0", "10", "20", "30"));
  EXPECT_FALSE(Texts(PlotAxis::Fitting("ms", {})).empty());
}

TEST(PlotAxis, HasItsTicksAtGivenValues) {
  const PlotAxis axis = PlotAxis::At("at once", {4, 1, 16});
  EXPECT_THAT(Texts(axis), ElementsAre("1", "4", "16"));
  EXPECT_DOUBLE_EQ(axis.Place(4), 0.5);
  EXPECT_EQ(PlotAxis::At("at once", {3}).Place(3), 0);
  EXPECT_FALSE(Texts(PlotAxis::At("at once", {})).empty());
}

}  // namespace
}  // namespace retnet
