#include "client/bench/table.h"

#include <cmath>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "client/client.h"

namespace retnet {
namespace {

// A figure, or a dash where there is none.
std::string Cell(const Samples& samples, double (*statistic)(const Samples&)) {
  return samples.empty() ? "-" : Figure(statistic(samples));
}

std::string PercentileCell(const Samples& samples, double percent) {
  return samples.empty() ? "-" : Figure(samples.Percentile(percent));
}

std::string LatencyRow(const BenchOptions& options, const NamedSamples& named) {
  const Samples& samples = *named.samples;
  const auto mean = [](const Samples& all) { return all.Mean(); };
  const auto deviation = [](const Samples& all) { return all.StandardDeviation(); };
  const auto greatest = [](const Samples& all) { return all.Greatest(); };
  std::string row = absl::StrFormat("%-32s%10s", named.title, Cell(samples, mean));
  for (const double percent : options.metric_percentiles) {
    absl::StrAppendFormat(&row, "%10s", PercentileCell(samples, percent));
  }
  absl::StrAppendFormat(&row, "%10s%10s\n", Cell(samples, deviation), Cell(samples, greatest));
  return row;
}

std::string Requests(const LoadSummary& summary) {
  std::string text = absl::StrCat(summary.count(Outcome::kCompleted), " completed, ",
                                  summary.count(Outcome::kFailed), " failed");
  for (const auto& [outcome, name] :
       std::vector<std::pair<Outcome, std::string>>{{Outcome::kCancelled, "cancelled on purpose"},
                                                    {Outcome::kDawdled, "read slowly"},
                                                    {Outcome::kVanished, "vanished on purpose"},
                                                    {Outcome::kInterrupted, "interrupted"}}) {
    if (summary.count(outcome) > 0) {
      absl::StrAppend(&text, ", ", summary.count(outcome), " ", name);
    }
  }
  return text;
}

std::string ClientLine(const BenchRun& run) {
  const ClientCost& client = run.summary.client;
  std::string line = absl::StrFormat("client: %.0f %% of a core", client.cpu_share * 100);
  if (!client.delay_bounds.empty()) {
    absl::StrAppend(&line, "; tokens waited in it at most ",
                    Figure(client.delay_bounds.Percentile(50)), " ms (p50), ",
                    Figure(client.delay_bounds.Percentile(99)), " ms (p99)");
  }
  if (!std::isinf(run.point.request_rate) && !client.send_lags.empty()) {
    absl::StrAppend(&line, "; requests sent ", Figure(client.send_lags.Percentile(50)),
                    " ms (p50), ", Figure(client.send_lags.Percentile(99)),
                    " ms (p99) after they were due");
  }
  return line + "\n";
}

}  // namespace

std::string Figure(double value) {
  const double size = std::abs(value);
  if (size < 1e-9) return "0";
  if (size < 0.9995) return absl::StrFormat("%#.3g", value);
  if (size < 99.95) return absl::StrFormat("%.*f", size < 9.995 ? 2 : 1, value);
  std::string digits = absl::StrFormat("%.0f", value);
  for (int end = static_cast<int>(digits.size()) - 3; end > (value < 0 ? 1 : 0); end -= 3) {
    digits.insert(end, ",");
  }
  return digits;
}

std::string RunTable(const BenchOptions& options, const BenchRun& run) {
  const LoadSummary& summary = run.summary;
  const auto rate = [&](double count) {
    return Figure(summary.seconds > 0 ? count / summary.seconds : 0);
  };
  std::string table;
  const auto line = [&table](const std::string& name, const std::string& value) {
    absl::StrAppendFormat(&table, "%-32s%s\n", name, value);
  };
  const auto input = static_cast<double>(summary.input_tokens);
  const auto output = static_cast<double>(summary.output_tokens);
  line("load", PointTitle(run.point));
  line("requests", Requests(summary));
  line("duration", Figure(summary.seconds) + " s");
  line("request throughput",
       rate(static_cast<double>(summary.count(Outcome::kCompleted))) + " req/s");
  if (options.goals.any()) {
    line("request goodput", absl::StrCat(rate(static_cast<double>(summary.good)), " req/s (",
                                         summary.good, " requests)"));
  }
  line("input throughput", rate(input) + " tok/s");
  line("output throughput",
       rate(output) + " tok/s (best second " + Figure(summary.peak_output_rate) + ")");
  line("total token throughput", rate(input + output) + " tok/s");
  line("requests at once",
       "mean " + Figure(summary.mean_running) + ", most " + absl::StrCat(summary.peak_running));
  line("tokens a message", Figure(summary.tokens_per_message));

  absl::StrAppendFormat(&table, "\n%-32s%10s", "milliseconds", "mean");
  for (const double percent : options.metric_percentiles) {
    absl::StrAppendFormat(&table, "%10s", absl::StrCat("p", percent));
  }
  absl::StrAppendFormat(&table, "%10s%10s\n", "std", "max");
  for (const NamedSamples& named : ReportedLatencies(options, summary.latencies)) {
    absl::StrAppend(&table, LatencyRow(options, named));
  }
  absl::StrAppend(&table, "by the server's account\n");
  for (NamedSamples named : ServerLatencies(summary.latencies)) {
    named.title = "  " + named.title;
    absl::StrAppend(&table, LatencyRow(options, named));
  }
  return absl::StrCat(table, "\n", ClientLine(run), FailureLines(PointTitle(run.point), summary));
}

std::string SweepHeading(const BenchOptions& options) {
  return absl::StrFormat("%11s%10s%8s%9s%10s%10s%10s%10s%10s%10s%10s%10s%10s\n",
                         SweptTitle(options), "completed", "failed", "req/s", "out tok/s",
                         "TTFT p50", "TTFT p99", "ITL p50", "ITL p99", "TPOT p50", "E2EL p50",
                         "E2EL p99", "client");
}

std::string SweepRow(const BenchOptions& options, const BenchRun& run) {
  const LoadSummary& summary = run.summary;
  const auto rate = [&](double count) {
    return Figure(summary.seconds > 0 ? count / summary.seconds : 0);
  };
  std::string row =
      absl::StrFormat("%11s%10d%8d%9s%10s", SweptValue(options, run.point),
                      summary.count(Outcome::kCompleted), summary.count(Outcome::kFailed),
                      rate(static_cast<double>(summary.count(Outcome::kCompleted))),
                      rate(static_cast<double>(summary.output_tokens)));
  const Latencies& latencies = summary.latencies;
  for (const auto& [samples, percent] :
       {std::pair(&latencies.ttft, 50), std::pair(&latencies.ttft, 99),
        std::pair(&latencies.itl, 50), std::pair(&latencies.itl, 99),
        std::pair(&latencies.tpot, 50), std::pair(&latencies.e2el, 50),
        std::pair(&latencies.e2el, 99)}) {
    absl::StrAppendFormat(&row, "%10s", PercentileCell(*samples, percent));
  }
  absl::StrAppendFormat(&row, "%8.0f %%\n", summary.client.cpu_share * 100);
  return row;
}

std::string FailureLines(const std::string& title, const LoadSummary& summary) {
  std::string lines;
  for (const auto& [code, failures] : summary.failures) {
    absl::StrAppend(&lines, title, ": failed with ", CodeName(code), ": ", failures.count, " (",
                    failures.message, ")\n");
  }
  return lines;
}

}  // namespace retnet
