#include "client/bench/report/report.h"

#include <limits>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace retnet {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

BenchSetting Setting(const BenchOptions& options) {
  BenchSetting setting{.options = &options,
                       .model = {},
                       .target = "here:1",
                       .date = "20260102-030405",
                       .command = "retnet bench --label <b>&\"it's\""};
  setting.model.set_name("<i>demo</i>");
  return setting;
}

BenchRun FinishedRun(int32_t concurrency) {
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
  run.result.seconds = 3;
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

TEST(BenchReport, DrawsADistributionOfEachLatencyAndTheCourseOfTheRun) {
  BenchOptions options;
  options.percentile_metrics = {"ttft", "itl"};
  const std::string html = BenchReport(Setting(options), {FinishedRun(4)});
  for (const char* title : {"Time to first token (TTFT)", "Inter-token latency (ITL)",
                            "Output throughput", "Running requests"}) {
    EXPECT_THAT(html, HasSubstr(std::string("class=\"plot-title\">") + title));
  }
  EXPECT_THAT(html, Not(HasSubstr("(E2EL)</text>")));
}

TEST(BenchReport, OfASweepDrawsLatencyOverThroughputAndFoldsTheRuns) {
  const BenchOptions options;
  BenchSetting setting = Setting(options);
  setting.is_sweep = true;
  const std::string html = BenchReport(setting, {FinishedRun(1), FinishedRun(8)});
  EXPECT_THAT(html, HasSubstr("Time to first token over throughput"));
  EXPECT_THAT(html, HasSubstr("Output throughput over load"));
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
