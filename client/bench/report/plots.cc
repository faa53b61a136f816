#include "client/bench/report/plots.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <utility>

#include "absl/strings/str_cat.h"
#include "client/bench/table.h"
#include "client/bench/timeline.h"

namespace retnet {
namespace {

constexpr int kIntervals = 120;
constexpr int kFullWidth = 980;
constexpr double kLeastPart = 20;  // of the median, where a distribution's axis begins

// What one sample of a latency belongs to.
std::string SampleKind(const std::string& key) {
  return key == "itl" ? "share of gaps, %" : "share of requests, %";
}

std::string LongTitle(const std::string& key) {
  if (key == "ttft") return "Time to first token";
  if (key == "tpot") return "Time per output token";
  if (key == "itl") return "Inter-token latency";
  return "End-to-end latency";
}

PlotSeries DistributionSeries(const Samples& samples) {
  std::vector<double> percents;
  for (int i = 0; i <= 198; ++i) percents.push_back(i * 0.5);
  for (int i = 1; i <= 10; ++i) percents.push_back(99 + i * 0.1);
  PlotSeries series{.name = "", .hue = 1, .shape = PlotSeries::Shape::kLine, .points = {}};
  for (const double percent : percents) {
    PlotPoint point{.x = samples.Percentile(percent), .y = percent};
    if (percent == 50 || percent == 90 || percent == 99) {
      point.label = absl::StrCat("p", percent, " ", Figure(point.x));
      point.hint = point.label + " ms";
    }
    series.points.push_back(std::move(point));
  }
  return series;
}

// A value for each interval, as steps.
PlotSeries Steps(std::string name, int hue, const std::vector<double>& values, double interval) {
  PlotSeries series{
      .name = std::move(name), .hue = hue, .shape = PlotSeries::Shape::kArea, .points = {}};
  for (size_t i = 0; i < values.size(); ++i) {
    series.points.push_back({.x = static_cast<double>(i) * interval, .y = values[i]});
    series.points.push_back({.x = static_cast<double>(i + 1) * interval, .y = values[i]});
  }
  return series;
}

double OutputRate(const BenchRun& run) {
  const LoadSummary& summary = run.summary;
  return summary.seconds > 0 ? static_cast<double>(summary.output_tokens) / summary.seconds : 0;
}

Plot LatencyOverThroughput(const BenchOptions& options, const std::vector<BenchRun>& runs,
                           const std::string& key) {
  PlotSeries median{.name = "p50", .hue = 1, .points = {}};
  PlotSeries tail{.name = "p99", .hue = 2, .shape = PlotSeries::Shape::kDashed, .points = {}};
  std::vector<double> rates;
  std::vector<double> values;
  for (const BenchRun& run : runs) {
    for (const NamedSamples& named : ReportedLatencies(options, run.summary.latencies)) {
      if (named.key != key || named.samples->empty()) continue;
      const double rate = OutputRate(run);
      const auto add = [&](double percent, const std::string& label, PlotSeries* series) {
        const double value = named.samples->Percentile(percent);
        values.push_back(value);
        series->points.push_back(
            {.x = rate,
             .y = value,
             .label = label,
             .hint = absl::StrCat(PointTitle(run.point), ": ", Figure(rate), " tok/s, p", percent,
                                  " ", Figure(value), " ms")});
      };
      rates.push_back(rate);
      add(50, "", &median);
      add(99, SweptValue(options, run.point), &tail);
    }
  }
  const double most = rates.empty() ? 1 : *std::max_element(rates.begin(), rates.end());
  return {.id = absl::StrCat("sweep-", key),
          .title = absl::StrCat(LongTitle(key), " over throughput"),
          .description = absl::StrCat("p50 and p99 of each point over its output throughput; the "
                                      "numbers are ",
                                      SweptTitle(options), ". All are in the table."),
          .x = PlotAxis::Linear("output throughput, tok/s", most),
          .y = PlotAxis::Fitting("milliseconds", values),
          .series = {std::move(median), std::move(tail)}};
}

Plot ThroughputOverLoad(const BenchOptions& options, const std::vector<BenchRun>& runs) {
  PlotSeries series{.name = "output", .hue = 3, .points = {}};
  const bool by_rate = options.request_rates.size() > 1;
  std::vector<double> loads;
  double most = 0;
  for (const BenchRun& run : runs) {
    const double load = by_rate ? run.point.request_rate : run.point.max_concurrency;
    if (std::isinf(load)) continue;  // has no place on the axis
    loads.push_back(load);
    most = std::max(most, OutputRate(run));
    series.points.push_back(
        {.x = load,
         .y = OutputRate(run),
         .hint = absl::StrCat(PointTitle(run.point), ": ", Figure(OutputRate(run)), " tok/s")});
  }
  return {.id = "sweep-throughput",
          .title = "Output throughput over load",
          .description = "Output throughput of each point; all are in the table.",
          .x = PlotAxis::At(by_rate ? "requests a second, asked for" : "requests at once", loads),
          .y = PlotAxis::Linear("tok/s", most),
          .series = {std::move(series)}};
}

}  // namespace

std::vector<Plot> DistributionPlots(const BenchOptions& options, const BenchRun& run,
                                    const std::string& id) {
  std::vector<Plot> plots;
  for (const NamedSamples& named : ReportedLatencies(options, run.summary.latencies)) {
    if (named.samples->empty()) continue;
    // Stray samples must not squeeze the rest: what is beyond the axis is drawn at its ends.
    const double least =
        std::max(named.samples->Percentile(0), named.samples->Percentile(50) / kLeastPart);
    const double most = named.samples->Percentile(99.9);
    const PlotSeries series = DistributionSeries(*named.samples);
    plots.push_back({.id = absl::StrCat(id, "-", named.key),
                     .title = absl::StrCat(LongTitle(named.key), " (", named.title, ")"),
                     .description = absl::StrCat(
                         "Cumulative distribution. Median ", Figure(named.samples->Percentile(50)),
                         " ms, 90th percentile ", Figure(named.samples->Percentile(90)),
                         " ms, 99th percentile ", Figure(named.samples->Percentile(99)),
                         " ms, greatest ", Figure(named.samples->Greatest()), " ms."),
                     .x = PlotAxis::Fitting("milliseconds", {least, most}),
                     .y = PlotAxis::Linear(SampleKind(named.key), 100),
                     .series = {series}});
  }
  return plots;
}

std::vector<Plot> TimePlots(const BenchRun& run, const std::string& id) {
  const Timeline timeline = MakeTimeline(run.result, kIntervals);
  if (timeline.interval <= 0) return {};
  std::vector<double> running = timeline.waiting;
  for (size_t i = 0; i < running.size(); ++i) running[i] += timeline.streaming[i];
  const auto most = [](const std::vector<double>& values) {
    return *std::max_element(values.begin(), values.end());
  };
  const PlotAxis time = PlotAxis::Span("seconds since the start", run.summary.seconds);
  const std::string each = absl::StrCat(" in intervals of ", Figure(timeline.interval), " s.");
  Plot throughput{.id = id + "-throughput",
                  .title = "Output throughput",
                  .description = absl::StrCat("Tokens a second, of all requests,", each, " Most: ",
                                              Figure(most(timeline.tokens_per_second)), "."),
                  .width = kFullWidth,
                  .height = 250,
                  .x = time,
                  .y = PlotAxis::Linear("tok/s", most(timeline.tokens_per_second)),
                  .series = {Steps("output", 3, timeline.tokens_per_second, timeline.interval)}};
  Plot streams{.id = id + "-streams",
               .title = "Running requests",
               .description =
                   absl::StrCat("Requests that wait for their first token, upon those that stream,",
                                each, " Most together: ", Figure(most(running)), "."),
               .width = kFullWidth,
               .height = 250,
               .x = time,
               .y = PlotAxis::Linear("requests", most(running)),
               .series = {Steps("waiting for the first token", 2, running, timeline.interval),
                          Steps("streaming", 1, timeline.streaming, timeline.interval)}};
  return {std::move(throughput), std::move(streams)};
}

std::vector<Plot> SweepPlots(const BenchOptions& options, const std::vector<BenchRun>& runs) {
  std::vector<Plot> plots = {ThroughputOverLoad(options, runs)};
  for (const NamedSamples& named : ReportedLatencies(options, runs[0].summary.latencies)) {
    plots.push_back(LatencyOverThroughput(options, runs, named.key));
  }
  return plots;
}

}  // namespace retnet
