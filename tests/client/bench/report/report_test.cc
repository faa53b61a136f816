#include "client/bench/report/report.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/client/bench/report/drawn_plot.h"

namespace retnet {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr double kPixel = 1;

BenchSetting Setting(const BenchOptions& options) {
  BenchSetting setting{.options = &options,
                       .model = {},
                       .target = "here:1",
                       .access = {},
                       .date = "20260102-030405",
                       .command = "retnet bench --label <b>&\"it's\""};
  setting.model.set_name("<i>demo</i>");
  return setting;
}

// 20 requests, one every 0.1 s, of 3 tokens each. The first fails; of the others the first token
// takes 40, 60, … 400 ms, the second 10 ms more and the third 20.
BenchRun FinishedRun(int32_t concurrency, double seconds = 3) {
  BenchRun run{
      .point = {std::numeric_limits<double>::infinity(), concurrency}, .result = {}, .summary = {}};
  for (int i = 0; i < 20; ++i) {
    RequestRecord record;
    record.outcome = i == 0 ? Outcome::kFailed : Outcome::kCompleted;
    record.status = i == 0 ? grpc::Status(grpc::StatusCode::INTERNAL, "a < b & c") : grpc::Status();
    record.sent = i * 0.1;
    record.first_token = record.sent + 0.02 * (i + 1);
    record.first_tokens = 1;
    record.later = {{.gap = 0.01f, .tokens = 1}, {.gap = 0.02f, .tokens = 1}};
    record.output_tokens = 3;
    record.ended = *record.first_token + 0.04;
    run.result.records.push_back(record);
  }
  run.result.seconds = seconds;
  run.summary = Summarize(run.result, {});
  return run;
}

TEST(BenchReport, ShowsForeignTextsAsTexts) {
  const BenchOptions options;
  const std::string html = BenchReport(Setting(options), {FinishedRun(4)});
  EXPECT_THAT(html, HasSubstr("&lt;i&gt;demo&lt;/i&gt; under load"));
  EXPECT_THAT(html, HasSubstr("--label &lt;b&gt;&amp;&quot;it&#39;s&quot;"));
  EXPECT_THAT(html, HasSubstr("INTERNAL: a &lt; b &amp; c"));
  EXPECT_THAT(html, HasSubstr("2026-01-02 03:04"));
}

// The value that `percent` of these values are at most, between the nearest two in proportion.
double Percentile(std::vector<double> values, double percent) {
  std::sort(values.begin(), values.end());
  const double index = percent / 100 * static_cast<double>(values.size() - 1);
  const size_t below = std::min(static_cast<size_t>(index), values.size() - 2);
  return std::lerp(values[below], values[below + 1], index - static_cast<double>(below));
}

// The drawn curve passes through each percentile of these samples, from the least to the greatest.
void ExpectDistribution(const DrawnPlot& plot, const std::vector<double>& samples) {
  ASSERT_TRUE(plot.there());
  const DrawnPlot::Curve curve = plot.CurveOf("line hue1");
  ASSERT_GE(curve.size(), 200);
  const auto expect_near = [&](const DrawnPlot::Point& point, double percent) {
    const double value = std::max(Percentile(samples, percent), plot.least_x());
    EXPECT_NEAR(point.x, plot.X(value), kPixel) << percent << " %";
    EXPECT_NEAR(point.y, plot.Y(percent), kPixel) << percent << " %";
  };
  expect_near(curve.front(), 0);
  expect_near(curve.back(), 100);
  for (size_t i = 1; i < curve.size(); ++i) {
    EXPECT_GE(curve[i].x, curve[i - 1].x) << i;
    EXPECT_LE(curve[i].y, curve[i - 1].y) << i;
  }
  for (const double percent : {10, 25, 50, 75, 90, 99}) {
    const auto nearest = std::min_element(curve.begin(), curve.end(), [&](auto& a, auto& b) {
      return std::abs(a.y - plot.Y(percent)) < std::abs(b.y - plot.Y(percent));
    });
    expect_near(*nearest, percent);
  }
}

TEST(BenchReport, DrawsADistributionOfEachLatencyThatIsAskedFor) {
  BenchOptions options;
  options.percentile_metrics = {"ttft", "itl"};
  const std::string html = BenchReport(Setting(options), {FinishedRun(4)});
  std::vector<double> ttft;
  for (int i = 2; i <= 20; ++i) ttft.push_back(20.0 * i);
  std::vector<double> itl(19, 10.0);
  itl.resize(38, 20.0);
  const DrawnPlot plot(html, "Time to first token (TTFT)");
  ExpectDistribution(plot, ttft);
  EXPECT_THAT(plot.Labels(), ElementsAre("p50 220", "p90 364", "p99 396"));
  ExpectDistribution(DrawnPlot(html, "Inter-token latency (ITL)"), itl);
  EXPECT_THAT(html, Not(HasSubstr("(E2EL)</text>")));
}

// What is far below the median lies at the left end, so that the rest has room.
TEST(BenchReport, DrawsADistributionThatSpansDecadesOverLogarithms) {
  BenchOptions options;
  options.percentile_metrics = {"ttft"};
  BenchRun run = FinishedRun(4);
  std::vector<double> ttft;
  for (int i = 1; i < 20; ++i) {
    ttft.push_back(std::pow(1.5, i));
    RequestRecord& record = run.result.records[i];
    record.first_token = record.sent + ttft.back() / 1000;
    record.ended = *record.first_token + 0.04;
  }
  run.summary = Summarize(run.result, {});
  const std::string html = BenchReport(Setting(options), {run});
  const DrawnPlot plot(html, "Time to first token (TTFT)");
  EXPECT_EQ(plot.least_x(), 2) << "the round number below a 20th of the median, 57.7";
  ExpectDistribution(plot, ttft);
}

TEST(BenchReport, DrawsTheCourseOfTheRun) {
  const BenchOptions options;
  const std::string html = BenchReport(Setting(options), {FinishedRun(4)});
  const DrawnPlot throughput(html, "Output throughput");
  const DrawnPlot running(html, "Running requests");
  ASSERT_TRUE(throughput.there() && running.there());
  const DrawnPlot::Curve tokens = throughput.CurveOf("area hue3");
  const DrawnPlot::Curve all = running.CurveOf("area hue2");
  const DrawnPlot::Curve streaming = running.CurveOf("area hue1");
  EXPECT_NEAR(throughput.Area(tokens), 60, 60 * 0.02);  // tokens
  // Seconds of requests: they wait 0.02 · (1 + … + 20) and stream 0.04 each.
  EXPECT_NEAR(running.Area(all), 4.2 + 0.8, 5 * 0.02);
  EXPECT_NEAR(running.Area(streaming), 0.8, 0.8 * 0.02);
  for (const auto& [plot, curve] : {std::pair(&throughput, &tokens), std::pair(&running, &all)}) {
    ASSERT_GE(curve->size(), 100);
    EXPECT_NEAR(curve->front().x, plot->X(0), kPixel);
    EXPECT_NEAR(curve->back().x, plot->X(3), kPixel);
    for (const DrawnPlot::Point& point : *curve) {
      const bool between = point.x > plot->X(0.1) && point.x < plot->X(2.3);
      const bool ended = point.x > plot->X(2.45);  // the last one ends at 2.34 s
      if (between && curve == &all) {
        EXPECT_LT(point.y, plot->Y(0) - kPixel) << point.x;
      }
      if (ended) {
        EXPECT_NEAR(point.y, plot->Y(0), kPixel) << point.x;
      }
    }
  }
}

// Of two points: 57 tokens of what completed in 3 s, and in 6.
TEST(BenchReport, OfASweepDrawsLatencyOverThroughputAndFoldsTheRuns) {
  BenchOptions options;
  options.max_concurrencies = {1, 8};
  BenchSetting setting = Setting(options);
  setting.is_sweep = true;
  const std::string html = BenchReport(setting, {FinishedRun(8, 3), FinishedRun(1, 6)});
  const auto expect_points = [](const DrawnPlot& plot, const std::string& style,
                                const std::vector<DrawnPlot::Point>& values) {
    ASSERT_TRUE(plot.there());
    const DrawnPlot::Curve curve = plot.CurveOf(style);
    ASSERT_EQ(curve.size(), values.size());
    for (size_t i = 0; i < curve.size(); ++i) {
      EXPECT_NEAR(curve[i].x, plot.X(values[i].x), kPixel) << style << ", point " << i;
      EXPECT_NEAR(curve[i].y, plot.Y(values[i].y), kPixel) << style << ", point " << i;
    }
  };
  const DrawnPlot latency(html, "Time to first token over throughput");
  expect_points(latency, "line hue1", {{19, 220}, {9.5, 220}});
  expect_points(latency, "line dashed hue2", {{19, 396.4}, {9.5, 396.4}});
  const DrawnPlot load(html, "Output throughput over load");
  expect_points(load, "line hue3", {{8, 19}, {1, 9.5}});
  EXPECT_THAT(html, HasSubstr("<details><summary>1 at once</summary>"));
  EXPECT_THAT(html, HasSubstr("<details><summary>8 at once</summary>"));
}

TEST(BenchReport, IsThereWhenNothingCompleted) {
  const BenchOptions options;
  const BenchRun nothing{.point = {1, 0}, .result = {}, .summary = {}};
  EXPECT_THAT(BenchReport(Setting(options), {nothing}), HasSubstr("0 completed, 0 failed"));
  BenchSetting setting = Setting(options);
  setting.is_sweep = true;
  EXPECT_THAT(BenchReport(setting, {nothing}), HasSubstr("</html>"));
}

}  // namespace
}  // namespace retnet
