#include "client/bench/report/report.h"

#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "client/bench/report/plot.h"
#include "client/bench/report/plots.h"
#include "client/bench/report/report_style.h"
#include "client/bench/table.h"
#include "client/client.h"

namespace retnet {
namespace {

std::string Rate(const LoadSummary& summary, int64_t count) {
  return Figure(summary.seconds > 0 ? static_cast<double>(count) / summary.seconds : 0);
}

std::string Percentile(const Samples& samples, double percent) {
  return samples.empty() ? "–" : Figure(samples.Percentile(percent));
}

std::string Cell(const std::string& text) { return absl::StrCat("<td>", Escaped(text), "</td>"); }

std::string Heading(const std::string& text) {
  return absl::StrCat("<th scope=\"col\">", Escaped(text), "</th>");
}

std::string RowHeading(const std::string& text) {
  return absl::StrCat("<th scope=\"row\">", Escaped(text), "</th>");
}

std::string Figures(const std::string& style, const std::vector<Plot>& plots) {
  std::string html = absl::StrCat("<div class=\"", style, "\">\n");
  for (const Plot& plot : plots) {
    absl::StrAppend(&html, "<figure class=\"card\">", Svg(plot), "</figure>\n");
  }
  return absl::StrCat(html, "</div>\n");
}

std::string Tile(const std::string& name, const std::string& value, const std::string& unit,
                 const std::string& beside) {
  return absl::StrCat("<div class=\"tile card\"><span class=\"quiet\">", Escaped(name),
                      "</span><b>", Escaped(value), " <small>", Escaped(unit),
                      "</small></b><span class=\"quiet\">", Escaped(beside), "</span></div>\n");
}

std::string Tiles(const BenchOptions& options, const LoadSummary& summary) {
  const Latencies& latencies = summary.latencies;
  const auto latency = [](const std::string& name, const Samples& samples) {
    return Tile(name, Percentile(samples, 50), "ms", "p99 " + Percentile(samples, 99) + " ms");
  };
  const int64_t completed = summary.count(Outcome::kCompleted);
  std::string html = "<div class=\"tiles\">\n";
  absl::StrAppend(
      &html,
      Tile("Output", Rate(summary, summary.output_tokens), "tok/s",
           "peak " + Figure(summary.peak_output_rate)),
      Tile("Requests", Rate(summary, completed), "req/s",
           absl::StrCat(completed, " completed, ", summary.count(Outcome::kFailed), " failed")),
      latency("TTFT, median", latencies.ttft), latency("ITL, median", latencies.itl),
      latency("E2EL, median", latencies.e2el));
  if (options.goals.any()) {
    absl::StrAppend(&html, Tile("Goodput", Rate(summary, summary.good), "req/s",
                                absl::StrCat(summary.good, " requests")));
  }
  return absl::StrCat(html, "</div>\n");
}

void AddLatencyRow(const BenchOptions& options, const NamedSamples& named, std::string* html) {
  const Samples& samples = *named.samples;
  absl::StrAppend(html, "<tr>", RowHeading(named.title),
                  Cell(samples.empty() ? "–" : Figure(samples.Mean())));
  for (const double percent : options.metric_percentiles) {
    absl::StrAppend(html, Cell(Percentile(samples, percent)));
  }
  absl::StrAppend(html, Cell(samples.empty() ? "–" : Figure(samples.StandardDeviation())),
                  Cell(samples.empty() ? "–" : Figure(samples.Greatest())), "</tr>\n");
}

std::string LatencyTable(const BenchOptions& options, const LoadSummary& summary) {
  std::string html =
      "<div class=\"card\"><table><caption>Milliseconds, of completed requests</caption>"
      "<thead><tr><th scope=\"col\">&#160;</th>" +
      Heading("mean");
  for (const double percent : options.metric_percentiles) {
    absl::StrAppend(&html, Heading(absl::StrCat("p", percent)));
  }
  absl::StrAppend(&html, Heading("std"), Heading("max"), "</tr></thead>\n<tbody>\n");
  for (const NamedSamples& named : ReportedLatencies(options, summary.latencies)) {
    AddLatencyRow(options, named, &html);
  }
  for (NamedSamples named : ServerLatencies(summary.latencies)) {
    if (named.key != "ttft_beyond_server") named.title = "server: " + named.title;
    AddLatencyRow(options, named, &html);
  }
  return html + "</tbody></table></div>\n";
}

std::string RequestTable(const LoadSummary& summary) {
  std::string html = "<div class=\"card\"><table><tbody>\n";
  const auto row = [&html](const std::string& name, const std::string& value) {
    absl::StrAppend(&html, "<tr>", RowHeading(name), Cell(value), "</tr>\n");
  };
  for (const auto& [outcome, name] :
       std::vector<std::pair<Outcome, std::string>>{{Outcome::kCompleted, "completed"},
                                                    {Outcome::kFailed, "failed"},
                                                    {Outcome::kCancelled, "cancelled on purpose"},
                                                    {Outcome::kDawdled, "read slowly on purpose"},
                                                    {Outcome::kVanished, "vanished on purpose"},
                                                    {Outcome::kInterrupted, "interrupted"}}) {
    const int64_t count = summary.count(outcome);
    if (count > 0 || outcome <= Outcome::kFailed) row(name, absl::StrCat(count));
  }
  for (const auto& [code, failures] : summary.failures) {
    absl::StrAppend(&html, "<tr class=\"bad\">",
                    RowHeading(absl::StrCat(CodeName(code), ": ", failures.message)),
                    Cell(absl::StrCat(failures.count)), "</tr>\n");
  }
  row("at once, mean and most",
      absl::StrCat(Figure(summary.mean_running), ", ", summary.peak_running));
  row("duration", Figure(summary.seconds) + " s");
  row("input throughput", Rate(summary, summary.input_tokens) + " tok/s");
  row("total token throughput",
      Rate(summary, summary.input_tokens + summary.output_tokens) + " tok/s");
  row("tokens a message", Figure(summary.tokens_per_message));
  row("client's CPU, of one core", Figure(summary.client.cpu_share * 100) + " %");
  row("tokens waited in the client at most, p50 and p99",
      absl::StrCat(Percentile(summary.client.delay_bounds, 50), ", ",
                   Percentile(summary.client.delay_bounds, 99), " ms"));
  return html + "</tbody></table></div>\n";
}

// `heading` is the element of its headings: h2 or h3.
std::string RunSections(const BenchOptions& options, const BenchRun& run, const std::string& id,
                        const std::string& heading) {
  const auto title = [&heading](const std::string& text) {
    return absl::StrCat("<", heading, ">", text, "</", heading, ">\n");
  };
  return absl::StrCat(title("Latency"), LatencyTable(options, run.summary), "<p>&#160;</p>\n",
                      Figures("plots", DistributionPlots(options, run, id)), title("Over time"),
                      Figures("wide", TimePlots(run, id)), title("Requests"),
                      RequestTable(run.summary));
}

std::string SweepTable(const BenchOptions& options, const std::vector<BenchRun>& runs) {
  std::string html =
      "<div class=\"card\"><table><caption>Latencies in milliseconds</caption><thead><tr>" +
      Heading(SweptTitle(options));
  for (const char* name : {"completed", "failed", "req/s", "out tok/s", "TTFT p50", "TTFT p99",
                           "ITL p50", "ITL p99", "E2EL p50", "E2EL p99"}) {
    absl::StrAppend(&html, Heading(name));
  }
  absl::StrAppend(&html, "</tr></thead>\n<tbody>\n");
  for (const BenchRun& run : runs) {
    const LoadSummary& summary = run.summary;
    const Latencies& latencies = summary.latencies;
    const int64_t completed = summary.count(Outcome::kCompleted);
    absl::StrAppend(&html, "<tr>", RowHeading(SweptValue(options, run.point)),
                    Cell(absl::StrCat(completed)),
                    Cell(absl::StrCat(summary.count(Outcome::kFailed))),
                    Cell(Rate(summary, completed)), Cell(Rate(summary, summary.output_tokens)));
    for (const Samples* samples : {&latencies.ttft, &latencies.itl, &latencies.e2el}) {
      absl::StrAppend(&html, Cell(Percentile(*samples, 50)), Cell(Percentile(*samples, 99)));
    }
    absl::StrAppend(&html, "</tr>\n");
  }
  return html + "</tbody></table></div>\n";
}

// YYYYMMDD-HHMMSS as people write it.
std::string ReadableDate(const std::string& date) {
  return absl::StrCat(date.substr(0, 4), "-", date.substr(4, 2), "-", date.substr(6, 2), " ",
                      date.substr(9, 2), ":", date.substr(11, 2));
}

std::string Header(const BenchSetting& setting) {
  const std::string name =
      setting.options->label.empty() ? setting.model.name() : setting.options->label;
  return absl::StrCat(
      "<h1>", Escaped(name), " under load</h1>\n<p class=\"quiet\">",
      Escaped(absl::StrCat("model ", setting.model.name(), " · ", setting.model.backend(),
                           " · retnetd ", setting.model.server_version(), " · ",
                           ReadableDate(setting.date))),
      "</p>\n<p><code>", Escaped(setting.command), "</code></p>\n");
}

constexpr char kDefinitions[] = R"(<h2>What the figures mean</h2>
<div class="card"><dl>
<dt>TTFT</dt><dd>from sending a request to the arrival of its first token</dd>
<dt>ITL</dt><dd>between two messages that bring tokens; a message brings several when the way is slower than the model</dd>
<dt>TPOT</dt><dd>from the first token of a request to its last, over the number of tokens after the first</dd>
<dt>E2EL</dt><dd>from sending a request to the end of its stream</dd>
<dt>server</dt><dd>durations that the server states itself; TTFT beyond them is the way there and back</dd>
<dt>completed</dt><dd>latencies and throughputs count these requests alone; the plots over time show all</dd>
</dl></div>
)";

}  // namespace

std::string BenchReport(const BenchSetting& setting, const std::vector<BenchRun>& runs) {
  const BenchOptions& options = *setting.options;
  std::string html = absl::StrCat(
      "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n"
      "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n<title>",
      Escaped(setting.model.name()), " under load</title>\n<style>", kReportStyle,
      "</style>\n</head>\n<body>\n<main>\n", Header(setting));
  if (!setting.is_sweep) {
    absl::StrAppend(&html, "<p class=\"quiet\">Load: ", Escaped(PointTitle(runs[0].point)),
                    "</p>\n", Tiles(options, runs[0].summary),
                    RunSections(options, runs[0], "run", "h2"));
  } else {
    absl::StrAppend(&html, "<h2>Sweep</h2>\n", SweepTable(options, runs), "<p>&#160;</p>\n",
                    Figures("plots", SweepPlots(options, runs)), "<h2>Each run</h2>\n");
    for (size_t i = 0; i < runs.size(); ++i) {
      absl::StrAppend(&html, "<details><summary>", Escaped(PointTitle(runs[i].point)),
                      "</summary>\n", Tiles(options, runs[i].summary),
                      RunSections(options, runs[i], absl::StrCat("run", i), "h3"), "</details>\n");
    }
  }
  return absl::StrCat(html, kDefinitions, "</main>\n</body>\n</html>\n");
}

}  // namespace retnet
