// `retnet bench` as users run it, against the real server.
#include "tests/server/process.h"

#include <signal.h>

#include <fstream>
#include <iterator>
#include <memory>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/server/retnetd.h"

namespace retnet {
namespace {

using nlohmann::json;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

std::vector<std::string> Split(const std::string& text, char separator) {
  std::vector<std::string> parts;
  std::istringstream stream(text);
  for (std::string part; std::getline(stream, part, separator);) parts.push_back(part);
  return parts;
}

std::string FileText(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return std::string(std::istreambuf_iterator<char>(file), {});
}

class Bench : public ::testing::Test {
 protected:
  static void SetUpTestSuite() { server_ = std::make_unique<Retnetd>(); }
  static void TearDownTestSuite() { server_.reset(); }

  // `bench` with these arguments, which blanks separate.
  static ClientResult Run(const std::string& arguments) {
    return server_->RunClient(Split("bench " + arguments, ' '));
  }
  static json RunJson(const std::string& arguments) {
    const ClientResult result = Run(arguments + " --json");
    EXPECT_EQ(result.exit_code, 0) << result.error;
    return json::parse(result.output, nullptr, /*allow_exceptions=*/false);
  }

  static inline std::unique_ptr<Retnetd> server_;
};

constexpr char kShort[] = "--random-input-len 20 --random-output-len 10 --ignore-eos ";

TEST_F(Bench, GivesTheFiguresTheirNamesInVllm) {
  const json figures =
      RunJson(std::string(kShort) + "--num-prompts 30 --max-concurrency 4 --goodput ttft:60000");
  EXPECT_EQ(figures["completed"], 30);
  EXPECT_EQ(figures["failed"], 0);
  EXPECT_EQ(figures["total_input_tokens"], 600);
  EXPECT_EQ(figures["total_output_tokens"], 300);
  EXPECT_EQ(figures["num_prompts"], 30);
  EXPECT_EQ(figures["max_concurrency"], 4);
  EXPECT_EQ(figures["request_rate"], "inf");
  EXPECT_GE(figures["max_concurrent_requests"], 1);
  EXPECT_LE(figures["max_concurrent_requests"], 4);
  const double seconds = figures["duration"];
  ASSERT_GT(seconds, 0);
  EXPECT_DOUBLE_EQ(figures["request_throughput"], 30 / seconds);
  EXPECT_DOUBLE_EQ(figures["request_goodput"], 30 / seconds);
  EXPECT_DOUBLE_EQ(figures["output_throughput"], 300 / seconds);
  EXPECT_DOUBLE_EQ(figures["total_token_throughput"], 900 / seconds);
  for (const std::string metric : {"ttft", "tpot", "itl", "e2el"}) {
    for (const std::string statistic : {"mean", "median", "std", "p50", "p90", "p99", "max"}) {
      const std::string key = statistic + "_" + metric + "_ms";
      ASSERT_TRUE(figures[key].is_number()) << key;
    }
    EXPECT_EQ(figures["median_" + metric + "_ms"], figures["p50_" + metric + "_ms"]);
    EXPECT_LE(figures["p50_" + metric + "_ms"], figures["p99_" + metric + "_ms"]);
    EXPECT_LE(figures["p99_" + metric + "_ms"], figures["max_" + metric + "_ms"]);
  }
  // The client has seen what the server says, and the way in between.
  EXPECT_GT(figures["mean_server_prefill_ms"], 0);
  EXPECT_GE(figures["mean_ttft_ms"], figures["mean_server_prefill_ms"]);
}

TEST_F(Bench, ReportsOnlyTheMetricsAndPercentilesThatAreAskedFor) {
  const json figures =
      RunJson(std::string(kShort) +
              "--num-prompts 5 --percentile-metrics ttft,e2el --metric-percentiles 25,99.9");
  EXPECT_TRUE(figures.contains("p99.9_ttft_ms"));
  EXPECT_TRUE(figures.contains("p25_e2el_ms"));
  EXPECT_FALSE(figures.contains("p99_ttft_ms"));
  EXPECT_FALSE(figures.contains("mean_itl_ms"));
  EXPECT_TRUE(figures["request_goodput"].is_null());
}

TEST_F(Bench, WritesDetailsOfEveryRequest) {
  const std::string path = testing::TempDir() + "bench_details.json";
  const ClientResult result = Run(
      std::string(kShort) + "--num-prompts 6 --request-rate 200 --save-detailed --json " + path);
  EXPECT_EQ(result.exit_code, 0);
  EXPECT_THAT(result.output, HasSubstr("6 completed, 0 failed"));
  EXPECT_THAT(result.error, IsEmpty());  // no progress where there is no terminal
  const json figures = json::parse(FileText(path));
  EXPECT_EQ(figures["request_rate"], 200);
  EXPECT_THAT(figures["input_lens"], ElementsAre(20, 20, 20, 20, 20, 20));
  EXPECT_THAT(figures["output_lens"], ElementsAre(10, 10, 10, 10, 10, 10));
  EXPECT_THAT(figures["ttfts"], SizeIs(6));
  EXPECT_THAT(figures["itls"], SizeIs(6));
  EXPECT_THAT(figures["errors"], ElementsAre("", "", "", "", "", ""));
}

TEST_F(Bench, SweepsALineForEachPoint) {
  const std::string path = testing::TempDir() + "bench_sweep.json";
  const ClientResult result =
      Run(std::string(kShort) + "--num-prompts 12 --max-concurrency 1,2,4 --json " + path);
  EXPECT_EQ(result.exit_code, 0) << result.error;
  const std::vector<std::string> lines = Split(result.output, '\n');
  ASSERT_THAT(lines, SizeIs(4));
  EXPECT_THAT(lines[0], HasSubstr("TTFT p99"));
  const json sweep = json::parse(FileText(path));
  ASSERT_THAT(sweep["runs"], SizeIs(3));
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(sweep["runs"][i]["max_concurrency"], 1 << i);
    EXPECT_EQ(sweep["runs"][i]["completed"], 12);
    EXPECT_THAT(lines[i + 1], HasSubstr(" " + std::to_string(1 << i) + " "));
  }
  EXPECT_THAT(RunJson(std::string(kShort) + "--num-prompts 3 --request-rate 300,inf")["runs"],
              SizeIs(2));
}

TEST_F(Bench, TakesPromptsFromAFile) {
  const std::string path = testing::TempDir() + "bench_dataset.jsonl";
  std::ofstream(path) << "{\"prompt\": \"Alice was\", \"output_len\": 3}\n"
                         "{\"input_len\": 9, \"output_len\": 5}\n"
                         "{\"prompt_token_ids\": [5, 6, 7]}\n";
  const json figures = RunJson("--dataset-path " + path +
                               " --random-output-len 7 --ignore-eos --num-prompts 3 "
                               "--max-concurrency 1 --save-detailed --temperature 0");
  EXPECT_THAT(figures["output_lens"], ElementsAre(3, 5, 7));
  EXPECT_EQ(figures["input_lens"][1], 9);
  EXPECT_EQ(figures["input_lens"][2], 3);
  EXPECT_GT(figures["input_lens"][0], 1);  // the server has counted
}

TEST_F(Bench, CountsWhatItProvokesApart) {
  const json figures = RunJson(
      "--random-input-len 20 --random-output-len 200 --ignore-eos --num-prompts 60 "
      "--cancel-fraction 0.3 --slow-reader-fraction 0.2 --vanish-fraction 0.3 "
      "--slow-reader-pause 1");
  const json& provoked = figures["provoked"];
  EXPECT_EQ(figures["failed"], 0) << figures["failures"];
  EXPECT_GT(provoked["cancelled"], 0);
  EXPECT_GT(provoked["slow_readers"], 0);
  EXPECT_GT(provoked["vanished"], 0);
  EXPECT_EQ(figures["completed"].get<int>() + provoked["cancelled"].get<int>() +
                provoked["slow_readers"].get<int>() + provoked["vanished"].get<int>(),
            60);
}

// As XML, and without anything that a browser would fetch.
constexpr char kCheckPage[] = R"(
import re, sys, xml.etree.ElementTree as tree
text = open(sys.argv[1], encoding="utf-8").read()
page = tree.fromstring(text)
assert not re.search("https?:|//|url\\(|@import|<script|<link", text.split("<style>", 1)[1])
assert not any("src" in element.attrib or "href" in element.attrib for element in page.iter())
ids = [element.attrib["id"] for element in page.iter() if "id" in element.attrib]
assert len(ids) == len(set(ids)), "an id is there twice"
plots = list(page.iter("svg"))
for plot in plots:
    assert plot.attrib["role"] == "img"
    assert set(plot.attrib["aria-labelledby"].split()) <= set(ids)
print(len(plots))
)";

TEST_F(Bench, WritesAPageThatIsWellFormedAndWhole) {
  const std::string path = testing::TempDir() + "bench_report.html";
  const auto plots = [&path] {
    Process python({"/usr/bin/env", "python3", "-c", kCheckPage, path});
    EXPECT_EQ(python.Wait(), 0) << python.error();
    return python.output();
  };
  ASSERT_EQ(Run(std::string(kShort) + "--num-prompts 20 --report " + path).exit_code, 0);
  EXPECT_EQ(plots(), "6\n");  // four distributions, two over time
  ASSERT_EQ(
      Run(std::string(kShort) + "--num-prompts 9 --max-concurrency 1,3 --report " + path).exit_code,
      0);
  EXPECT_EQ(plots(), "17\n");  // five of the sweep, six of each run
}

TEST_F(Bench, ExitsWith1WhenRequestsFailAndSaysHow) {
  const ClientResult result =
      Run("--random-output-len 20000 --ignore-eos --num-prompts 5 --num-warmups 0 --timeout 0.05");
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_THAT(result.output, HasSubstr("0 completed, 5 failed"));
  EXPECT_THAT(result.output, HasSubstr("failed with DEADLINE_EXCEEDED: 5"));
}

TEST_F(Bench, ExitsWith2AndNamesFlagValueAndBound) {
  const std::pair<const char*, std::vector<const char*>> cases[] = {
      {"--num-prompts 0", {"--num-prompts", "0 must be at least 1"}},
      {"--request-rate 4,0", {"--request-rate", "0 must be more than 0"}},
      {"--request-rate many", {"--request-rate", "many must be"}},
      {"--max-concurrency -1", {"--max-concurrency", "-1 must be at least 1"}},
      {"--cancel-fraction 1.5", {"--cancel-fraction", "1.5 must be at least 0, at most 1"}},
      {"--cancel-fraction 0.6 --vanish-fraction 0.6", {"--vanish-fraction", "1.2", "at most 1"}},
      {"--request-rate 1,2 --max-concurrency 1,2", {"--request-rate", "--max-concurrency"}},
      {"--random-input-len 0", {"--random-input-len", "0 is not a length, 1 to"}},
      {"--random-input-len 30000 --random-output-len 3000",
       {"--random-input-len", "--random-output-len", "30000", "3000", "32768"}},
      {"--goodput itl", {"--goodput", "itl is not METRIC:MS"}},
      {"--goodput speed:3", {"--goodput", "speed:3"}},
      {"--percentile-metrics ttft,speed", {"--percentile-metrics", "speed"}},
      {"--metric-percentiles 101", {"--metric-percentiles", "101", "at most 100"}},
      {"--dataset-path /no/such/file", {"--dataset-path", "/no/such/file"}},
      {"--report /no/such/folder/file", {"--report", "/no/such/folder/file"}},
      {"--json /no/such/folder/file", {"--json", "/no/such/folder/file"}},
  };
  for (const auto& [arguments, parts] : cases) {
    const ClientResult result = Run(arguments);
    EXPECT_EQ(result.exit_code, 2) << arguments;
    EXPECT_THAT(result.output, IsEmpty()) << arguments;
    for (const char* part : parts) EXPECT_THAT(result.error, HasSubstr(part)) << arguments;
  }
}

TEST_F(Bench, ExitsWith4WhereNobodyListens) {
  Process process({RETNET_PATH, "bench", "--target", "127.0.0.1:1"});
  EXPECT_EQ(process.Wait(), 4);
  EXPECT_THAT(process.error(), HasSubstr("127.0.0.1:1"));
}

TEST_F(Bench, PrintsTheFiguresThereAreAfterCtrlC) {
  const std::string arguments =
      "bench " + std::string(kShort) + "--max-concurrency 1,2 --duration 100000";
  Process process(server_->Client(Split(arguments, ' ')));
  EXPECT_THAT(process.ReadLine(), HasSubstr("TTFT p50"));  // its runs begin
  process.Signal(SIGINT);
  EXPECT_EQ(process.Wait(), 0) << process.error();
  EXPECT_THAT(Split(process.output(), '\n'), SizeIs(2));  // the first point's, cut short
}

}  // namespace
}  // namespace retnet
