#include "client/bench/options.h"

#include <algorithm>
#include <limits>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "client/request_options.h"
#include "server/command_line.h"

namespace retnet {
namespace {

constexpr int32_t kDefaultConcurrency = 8;
constexpr double kInfinite = std::numeric_limits<double>::infinity();

CLI::Validator Positive() { return NumberFrom(0, kInfinite, /*included=*/false); }

void AddLengths(CLI::App* command, const std::string& name, Lengths* lengths,
                const std::string& default_text, const std::string& description) {
  command
      ->add_option_function<std::string>(
          name,
          [name, lengths](const std::string& text) {
            const auto parsed = Lengths::Parse(text);
            const std::string complaint(parsed.status().message());
            if (!parsed.ok()) throw CLI::ValidationError(name, complaint);
            *lengths = *parsed;
          },
          description + ": N, uniform:LEAST:GREATEST or lognormal:MEAN:SIGMA.")
      ->type_name("LENGTHS")
      ->default_str(default_text);
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
  command->option_defaults()->group("Load");
  command
      ->add_option("--request-rate", options->request_rates,
                   "Send requests at this rate, whatever the server does (open loop). inf: all at "
                   "once. A list, as in 1,2,4, makes one run for each.")
      ->type_name("PER_SECOND")
      ->delimiter(',')
      ->check(Positive());
  command
      ->add_option("--max-concurrency", options->max_concurrencies,
                   "Keep at most N requests running (closed loop). A list makes one run for each.")
      ->type_name("N")
      ->option_text(absl::StrCat("default: ", kDefaultConcurrency, " without --request-rate"))
      ->delimiter(',')
      ->check(NumberFrom(1, 1 << 20));
  command
      ->add_option("--burstiness", options->arrivals.burstiness,
                   "Shape of the gamma-distributed times between requests. 1: Poisson arrivals; "
                   "less: more clustered; inf: even.")
      ->type_name("X")
      ->check(Positive())
      ->capture_default_str();
  command
      ->add_option("--burst-size", options->arrivals.burst_size,
                   "Requests that arrive together. The rate of requests stays the same.")
      ->type_name("N")
      ->check(NumberFrom(1, 1 << 20))
      ->capture_default_str();
  command->add_option("--num-prompts", options->num_prompts, "Requests of a run.")
      ->type_name("N")
      ->option_text("default: 200, or no limit with --duration")
      ->check(NumberFrom(1, 1e12));
  command
      ->add_option("--duration", options->duration_seconds,
                   "Send no more requests after this time; those that run are awaited.")
      ->type_name("SECONDS")
      ->check(NumberFrom(0, 1e7, /*included=*/false));
  command
      ->add_option("--num-warmups", options->num_warmups,
                   "Requests before each run that are not measured.")
      ->type_name("N")
      ->check(NumberFrom(0, 1e9))
      ->capture_default_str();
  command
      ->add_option("--connections", options->connections,
                   "TCP connections that share the streams. Each has a thread of the client; "
                   "raise it when the client's CPU is the limit.")
      ->type_name("N")
      ->check(NumberFrom(1, 256))
      ->capture_default_str();
}

void AddWorkloadOptions(CLI::App* command, BenchOptions* options) {
  WorkloadOptions* const workload = &options->workload;
  command->option_defaults()->group("Requests");
  AddLengths(command, "--random-input-len", &workload->input_lengths, "1024",
             "Length of a prompt of random tokens");
  AddLengths(command, "--random-output-len", &workload->output_lengths, "128",
             "Most tokens of an answer");
  command
      ->add_option("--random-range-ratio", options->range_ratio,
                   "Spread plain lengths N evenly from N*(1-R) to N*(1+R).")
      ->type_name("R")
      ->check(NumberFrom(0, 1))
      ->capture_default_str();
  command
      ->add_option("--dataset-path", options->dataset_path,
                   "Take prompts and lengths from this file instead, in turn: JSON lines with "
                   "prompt, prompt_token_ids or input_len, and output_len. - is standard input.")
      ->type_name("FILE");
  command
      ->add_option("--seed", workload->seed,
                   "Seed for prompts, lengths and arrivals: the same one gives the same load.")
      ->type_name("N")
      ->check(WholeNumber<uint64_t>())
      ->capture_default_str();
  command->add_flag_callback(
      "--ignore-eos", [workload] { workload->common.set_ignore_eos(true); },
      "Let every answer have its full length.");
  using Request = v1::GenerateRequest;
  AddField(command, "--temperature", &workload->common, &Request::set_temperature, "X",
           "As in retnet generate.");
  AddField(command, "--top-k", &workload->common, &Request::set_top_k, "N",
           "As in retnet generate.");
  AddField(command, "--top-p", &workload->common, &Request::set_top_p, "X",
           "As in retnet generate.");
  AddField(command, "--min-p", &workload->common, &Request::set_min_p, "X",
           "As in retnet generate.");
}

void AddConductOptions(CLI::App* command, BenchOptions* options) {
  WorkloadOptions* const workload = &options->workload;
  command->option_defaults()->group("Badly behaved clients (reported apart)");
  command
      ->add_option("--cancel-fraction", workload->cancel_fraction,
                   "Share of the requests that are cancelled at a random token.")
      ->type_name("FRACTION")
      ->check(NumberFrom(0, 1))
      ->capture_default_str();
  command
      ->add_option("--slow-reader-fraction", workload->slow_reader_fraction,
                   "Share of the requests whose answer is read with pauses, through the smallest "
                   "flow-control window.")
      ->type_name("FRACTION")
      ->check(NumberFrom(0, 1))
      ->capture_default_str();
  command
      ->add_option("--slow-reader-pause", options->slow_reader_pause_ms,
                   "Pause of a slow reader after each message, in milliseconds.")
      ->type_name("MS")
      ->check(NumberFrom(0, 1e6))
      ->capture_default_str();
  command
      ->add_option("--vanish-fraction", workload->vanish_fraction,
                   "Share of the requests whose connection breaks at a random token.")
      ->type_name("FRACTION")
      ->check(NumberFrom(0, 1))
      ->capture_default_str();
}

void AddOutputOptions(CLI::App* command, BenchOptions* options) {
  command->option_defaults()->group("Results");
  command
      ->add_option_function<std::vector<std::string>>(
          "--goodput",
          [options](const std::vector<std::string>& goals) {
            for (const std::string& goal : goals) SetGoal(goal, &options->goals);
          },
          "Count requests that keep these limits in milliseconds, as in ttft:200 itl:20. Metrics: "
          "ttft (time to first token), itl (between tokens), tpot (per token after the first), "
          "e2el (whole request).")
      ->type_name("METRIC:MS")
      ->expected(1, 4);
  command
      ->add_option("--percentile-metrics", options->percentile_metrics,
                   "Metrics to report, of ttft, tpot, itl and e2el.")
      ->type_name("METRICS")
      ->delimiter(',')
      ->check(OneOf({"ttft", "tpot", "itl", "e2el"}))
      ->capture_default_str();
  command->add_option("--metric-percentiles", options->metric_percentiles, "Percentiles to report.")
      ->type_name("LIST")
      ->delimiter(',')
      ->check(NumberFrom(0, 100))
      ->capture_default_str();
  command->add_option("--label", options->label, "Name for the results, in JSON and report.")
      ->type_name("TEXT");
  command
      ->add_option_function<std::string>(
          "--json", [options](const std::string& path) { options->json_path = path; },
          "Write the figures as JSON to this file; without a file, to standard output instead of "
          "the table.")
      ->type_name("[FILE]")
      ->expected(0, 1);
  command->add_flag("--save-detailed", options->save_detailed,
                    "Add every request's lengths and times to the JSON.");
  command
      ->add_option("--report", options->report_path, "Write a page with tables and plots, as HTML.")
      ->type_name("FILE");
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
