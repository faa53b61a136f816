#include "client/bench/options.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "client/request_options.h"

namespace retnet {
namespace {

constexpr int32_t kDefaultConcurrency = 8;
constexpr double kInfinite = std::numeric_limits<double>::infinity();

// The message names the value and the bound; CLI11 puts the flag before it.
CLI::Validator From(double least, double most, bool least_included = true) {
  return CLI::Validator(
      [=](const std::string& text) -> std::string {
        double value = 0;
        if (absl::SimpleAtod(text, &value) && value <= most &&
            (least_included ? value >= least : value > least)) {
          return "";
        }
        const std::string bound = std::isinf(most) ? "" : absl::StrCat(", at most ", most);
        return absl::StrCat(text, " must be ", least_included ? "at least " : "more than ", least,
                            bound);
      },
      "");
}

CLI::Validator Positive() { return From(0, kInfinite, /*least_included=*/false); }

void AddLengths(CLI::App* command, const std::string& name, Lengths* lengths,
                const std::string& description) {
  command->add_option_function<std::string>(
      name,
      [name, lengths](const std::string& text) {
        const auto parsed = Lengths::Parse(text);
        const std::string complaint(parsed.status().message());
        if (!parsed.ok()) throw CLI::ValidationError(name, complaint);
        *lengths = *parsed;
      },
      description + ", in tokens: N, uniform:LEAST:GREATEST or lognormal:MEAN:SIGMA");
}

void SetGoal(const std::string& text, GoodputGoals* goals) {
  const std::vector<std::string> parts = absl::StrSplit(text, ':');
  double milliseconds = 0;
  std::optional<double>* goal = nullptr;
  if (parts.size() == 2) {
    if (parts[0] == "ttft") goal = &goals->ttft;
    if (parts[0] == "tpot") goal = &goals->tpot;
    if (parts[0] == "itl") goal = &goals->itl;
    if (parts[0] == "e2el") goal = &goals->e2el;
    if (!absl::SimpleAtod(parts[1], &milliseconds) || !(milliseconds >= 0)) goal = nullptr;
  }
  if (goal == nullptr) {
    throw CLI::ValidationError(
        "--goodput", text + " is not METRIC:MS with ttft, tpot, itl or e2el and at least 0");
  }
  *goal = milliseconds;
}

void AddLoadOptions(CLI::App* command, BenchOptions* options) {
  command
      ->add_option("--request-rate", options->request_rates,
                   "Open loop: requests a second; inf: all at once. A list, as 1,2,4: one run each")
      ->delimiter(',')
      ->check(Positive());
  command
      ->add_option("--max-concurrency", options->max_concurrencies,
                   "Closed loop: so many requests at once (8 without --request-rate). A list: one "
                   "run each")
      ->delimiter(',')
      ->check(From(1, 1 << 20));
  command
      ->add_option("--burstiness", options->arrivals.burstiness,
                   "Shape of the gamma-distributed times between arrivals; 1: Poisson, less: "
                   "clustered, inf: even")
      ->check(Positive())
      ->capture_default_str();
  command
      ->add_option("--burst-size", options->arrivals.burst_size,
                   "So many requests arrive together, at the same rate of requests")
      ->check(From(1, 1 << 20))
      ->capture_default_str();
  command
      ->add_option("--num-prompts", options->num_prompts,
                   "Requests of a run (200, or any number with --duration)")
      ->check(From(1, 1e12));
  command
      ->add_option("--duration", options->duration_seconds,
                   "Seconds after which a run sends no more; what runs then is awaited")
      ->check(From(0, 1e7, /*least_included=*/false));
  command
      ->add_option("--num-warmups", options->num_warmups,
                   "Requests before each run that do not count")
      ->check(From(0, 1e9))
      ->capture_default_str();
  command
      ->add_option("--connections", options->connections,
                   "TCP connections that streams are dealt to, each with a thread of the client")
      ->check(From(1, 256))
      ->capture_default_str();
}

void AddWorkloadOptions(CLI::App* command, BenchOptions* options) {
  WorkloadOptions* const workload = &options->workload;
  AddLengths(command, "--random-input-len", &workload->input_lengths,
             "Length of prompts of random tokens (1024)");
  AddLengths(command, "--random-output-len", &workload->output_lengths,
             "Most tokens of an answer (128)");
  command
      ->add_option("--random-range-ratio", options->range_ratio,
                   "Spreads lengths N uniformly over N*(1-R) to N*(1+R)")
      ->check(From(0, 1))
      ->capture_default_str();
  command->add_option(
      "--dataset-path", options->dataset_path,
      "JSON lines with prompt, prompt_token_ids or input_len, and output_len, taken "
      "in turn; - is standard input");
  command->add_option("--seed", workload->seed, "Of prompts, lengths and arrivals")
      ->capture_default_str();
  command->add_flag_callback(
      "--ignore-eos", [workload] { workload->common.set_ignore_eos(true); },
      "Every answer has its full length");
  using Request = v1::GenerateRequest;
  AddField(command, "--temperature", &workload->common, &Request::set_temperature, "0: greedy");
  AddField(command, "--top-k", &workload->common, &Request::set_top_k, "0: all");
  AddField(command, "--top-p", &workload->common, &Request::set_top_p, "0 to 1");
  AddField(command, "--min-p", &workload->common, &Request::set_min_p, "0 to 1");
}

void AddConductOptions(CLI::App* command, BenchOptions* options) {
  WorkloadOptions* const workload = &options->workload;
  command
      ->add_option("--cancel-fraction", workload->cancel_fraction,
                   "Of requests: cancelled at a random token")
      ->check(From(0, 1));
  command
      ->add_option("--slow-reader-fraction", workload->slow_reader_fraction,
                   "Of requests: read with pauses, through the smallest window")
      ->check(From(0, 1));
  command
      ->add_option("--slow-reader-pause", options->slow_reader_pause_ms,
                   "Milliseconds of such a pause, after each message")
      ->check(From(0, 1e6))
      ->capture_default_str();
  command
      ->add_option("--vanish-fraction", workload->vanish_fraction,
                   "Of requests: their connection breaks at a random token")
      ->check(From(0, 1));
}

void AddOutputOptions(CLI::App* command, BenchOptions* options) {
  command
      ->add_option_function<std::vector<std::string>>(
          "--goodput",
          [options](const std::vector<std::string>& goals) {
            for (const std::string& goal : goals) SetGoal(goal, &options->goals);
          },
          "What a good request keeps, as ttft:200 itl:20 (milliseconds; of ttft, tpot, itl, e2el)")
      ->expected(1, 4);
  command
      ->add_option("--percentile-metrics", options->percentile_metrics,
                   "Which of ttft, tpot, itl, e2el are reported")
      ->delimiter(',')
      ->check(CLI::IsMember({"ttft", "tpot", "itl", "e2el"}))
      ->capture_default_str();
  command->add_option("--metric-percentiles", options->metric_percentiles, "Which percentiles")
      ->delimiter(',')
      ->check(From(0, 100))
      ->capture_default_str();
  command->add_option("--label", options->label, "A name for the results");
  command
      ->add_option_function<std::string>(
          "--json", [options](const std::string& path) { options->json_path = path; },
          "Write the figures to this file; without one to standard output")
      ->expected(0, 1);
  command->add_flag("--save-detailed", options->save_detailed,
                    "In the JSON also every request's lengths and times");
  command->add_option("--report", options->report_path, "Write a page with plots, FILE.html");
}

}  // namespace

void AddBenchOptions(CLI::App* command, BenchOptions* options) {
  AddLoadOptions(command, options);
  AddWorkloadOptions(command, options);
  AddConductOptions(command, options);
  AddOutputOptions(command, options);
}

std::vector<BenchPoint> BenchPoints(const BenchOptions& options) {
  std::vector<double> rates = options.request_rates;
  std::vector<int32_t> concurrencies = options.max_concurrencies;
  if (rates.size() > 1 && concurrencies.size() > 1) {
    throw CLI::ValidationError("--request-rate and --max-concurrency",
                               "only one of them can be a list");
  }
  const WorkloadOptions& workload = options.workload;
  const double provoked =
      workload.cancel_fraction + workload.slow_reader_fraction + workload.vanish_fraction;
  if (provoked > 1 + 1e-9) {
    throw CLI::ValidationError("--cancel-fraction, --slow-reader-fraction and --vanish-fraction",
                               absl::StrCat("together ", provoked, ", which must be at most 1"));
  }
  if (rates.empty() && concurrencies.empty()) concurrencies = {kDefaultConcurrency};
  if (rates.empty()) rates = {kInfinite};
  if (concurrencies.empty()) concurrencies = {0};
  std::vector<BenchPoint> points;
  for (const double rate : rates) {
    for (const int32_t concurrency : concurrencies) points.push_back({rate, concurrency});
  }
  return points;
}

}  // namespace retnet
