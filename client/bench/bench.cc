#include "client/bench/bench.h"

#include <cmath>
#include <cstdio>
#include <ctime>
#include <fstream>
#include <iostream>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "client/bench/connection.h"
#include "client/bench/json.h"
#include "client/bench/load_runner.h"
#include "client/bench/progress_line.h"
#include "client/bench/report/report.h"
#include "client/bench/run.h"
#include "client/bench/table.h"
#include "kernels/mutex.h"

namespace retnet {
namespace {

constexpr int64_t kDefaultPrompts = 200;

// What Ctrl-C stops: the run there is, and all that follow.
class Interruption {
 public:
  void Interrupt() {
    const MutexLock lock(&mu_);
    interrupted_ = true;
    if (runner_ != nullptr) runner_->Stop();
  }
  // The run that begins; null when it has ended.
  void Watch(LoadRunner* runner) {
    const MutexLock lock(&mu_);
    runner_ = runner;
    if (interrupted_ && runner_ != nullptr) runner_->Stop();
  }
  bool interrupted() {
    const MutexLock lock(&mu_);
    return interrupted_;
  }

 private:
  Mutex mu_;
  bool interrupted_ ABSL_GUARDED_BY(mu_) = false;
  LoadRunner* runner_ ABSL_GUARDED_BY(mu_) = nullptr;
};

std::vector<DatasetLine> Dataset(const std::string& path) {
  if (path.empty()) return {};
  std::ifstream file;
  if (path != "-") {
    file.open(path, std::ios::binary);
    if (!file) throw CLI::ValidationError("--dataset-path", path + " cannot be read");
  }
  auto lines = ReadDataset(path == "-" ? &std::cin : &file);
  if (path == "-" && std::ferror(stdin) != 0) {  // which std::cin calls its end
    throw CLI::ValidationError("--dataset-path", "- cannot be read");
  }
  if (!lines.ok()) {
    throw CLI::ValidationError("--dataset-path",
                               absl::StrCat(path, ": ", std::string(lines.status().message())));
  }
  return *std::move(lines);
}

// Opened before the runs: nothing measured is lost to a path that cannot be written.
std::ofstream OutputFile(const std::string& flag, const std::string& path) {
  std::ofstream file;
  if (path.empty() || path == "-") return file;
  file.open(path, std::ios::binary);
  if (!file) throw CLI::ValidationError(flag, path + " cannot be written");
  return file;
}

// Whether all of it is in the file, which is closed.
bool WriteAll(const std::string& text, std::ofstream* file) {
  *file << text;
  file->close();
  return file->good();
}

Workload MakeWorkload(const BenchOptions& options, const v1::GetModelResponse& model,
                      const std::vector<DatasetLine>& dataset, bool warmup) {
  WorkloadOptions load = options.workload;
  load.input_lengths = load.input_lengths.Spread(options.range_ratio);
  load.output_lengths = load.output_lengths.Spread(options.range_ratio);
  if (warmup) {
    load.seed = ~load.seed;
    load.cancel_fraction = load.slow_reader_fraction = load.vanish_fraction = 0;
  }
  Workload workload(std::move(load), model, dataset);
  if (const absl::Status fits = workload.Fits(); !fits.ok()) {
    throw CLI::ValidationError(options.dataset_path.empty()
                                   ? "--random-input-len and --random-output-len"
                                   : "--dataset-path",
                               std::string(fits.message()));
  }
  return workload;
}

Channels MakeChannels(const BenchOptions& options, const std::string& target,
                      const Access& access) {
  Channels channels{.target = target,
                    .access = access,
                    .ordinary = {},
                    .narrow = NewNarrowChannel(target, access)};
  for (int32_t i = 0; i < options.connections; ++i) {
    channels.ordinary.push_back(NewChannel(target, access));
  }
  return channels;
}

LoadLimits MakeLimits(const BenchOptions& options, const BenchPoint& point, double timeout) {
  LoadLimits limits{.requests = options.num_prompts,
                    .seconds = options.duration_seconds,
                    .concurrency = point.max_concurrency,
                    .timeout_seconds = timeout,
                    .slow_reader_pause = options.slow_reader_pause_ms / 1e3};
  if (!limits.requests && !limits.seconds) limits.requests = kDefaultPrompts;
  return limits;
}

std::string Date() {
  const std::time_t now = std::time(nullptr);
  std::tm local = {};
  localtime_r(&now, &local);
  char text[32];
  return std::string(text, std::strftime(text, sizeof(text), "%Y%m%d-%H%M%S", &local));
}

// One call of `retnet bench`.
class Bench {
 public:
  Bench(const BenchSetting& setting, const std::vector<DatasetLine>& dataset,
        double timeout_seconds, Interruption* interruption)
      : options_(*setting.options),
        timeout_seconds_(timeout_seconds),
        interruption_(interruption),
        workload_(MakeWorkload(options_, setting.model, dataset, /*warmup=*/false)),
        warmup_(MakeWorkload(options_, setting.model, dataset, /*warmup=*/true)),
        channels_(MakeChannels(options_, setting.target, setting.access)) {}

  BenchRun Run(const BenchPoint& point) {
    if (options_.num_warmups > 0) {
      LoadLimits limits = MakeLimits(options_, point, timeout_seconds_);
      limits.requests = options_.num_warmups;
      limits.seconds = std::nullopt;
      if (limits.concurrency == 0) limits.concurrency = 1;
      RunLoad(limits, warmup_, ArrivalOptions(), "warming up");
    }
    ArrivalOptions arrivals = options_.arrivals;
    arrivals.request_rate = point.request_rate;
    BenchRun run{.point = point, .result = {}, .summary = {}};
    run.result = RunLoad(MakeLimits(options_, point, timeout_seconds_), workload_, arrivals,
                         PointTitle(point));
    run.summary = Summarize(run.result, options_.goals);
    return run;
  }

 private:
  LoadResult RunLoad(const LoadLimits& limits, const Workload& workload,
                     const ArrivalOptions& arrival_options, const std::string& title) {
    LoadProgress progress;
    LoadRunner runner(channels_, limits, &progress);
    Arrivals arrivals(arrival_options, options_.workload.seed);
    const ProgressLine line(title, &progress);
    interruption_->Watch(&runner);
    LoadResult result = runner.Run(workload, &arrivals);
    interruption_->Watch(nullptr);
    return result;
  }

  const BenchOptions& options_;
  const double timeout_seconds_;
  Interruption* const interruption_;
  const Workload workload_;
  const Workload warmup_;
  const Channels channels_;
};

bool IsRefused(const BenchRun& run) {
  for (const auto& [code, failures] : run.summary.failures) {
    if (code != grpc::StatusCode::RESOURCE_EXHAUSTED) return true;
  }
  return run.summary.count(Outcome::kFailed) > 0 && run.summary.count(Outcome::kCompleted) == 0;
}

}  // namespace

ExitCode RunBench(const BenchOptions& options, const std::string& command, Client* client) {
  const std::vector<BenchPoint> points = BenchPoints(options);
  if (client->access().tls && options.workload.vanish_fraction > 0) {
    throw CLI::ValidationError("--vanish-fraction",
                               "a connection with TLS cannot be broken on purpose");
  }
  BenchSetting setting{.options = &options,
                       .model = {},
                       .target = client->target(),
                       .access = client->access(),
                       .date = Date(),
                       .command = command,
                       .is_sweep = points.size() > 1};
  const grpc::Status status =
      v1::Generation::NewStub(client->channel())->GetModel(client->context(), {}, &setting.model);
  if (!status.ok()) return client->Report(status);
  const bool json_on_output = client->json() || options.json_path == "" || options.json_path == "-";
  std::ofstream json_file = OutputFile("--json", options.json_path.value_or(""));
  std::ofstream report_file = OutputFile("--report", options.report_path);
  Interruption interruption;
  client->OnInterrupt([&interruption] { interruption.Interrupt(); });
  Bench bench(setting, Dataset(options.dataset_path), client->timeout_seconds(), &interruption);

  std::vector<BenchRun> runs;
  ExitCode exit_code = kExitOk;
  if (!json_on_output && setting.is_sweep) std::cout << SweepHeading(options) << std::flush;
  for (const BenchPoint& point : points) {
    if ((interruption.interrupted() && !runs.empty()) || !std::cout) break;
    runs.push_back(bench.Run(point));
    if (IsRefused(runs.back())) exit_code = kExitRefused;
    if (json_on_output) continue;
    std::cout << (setting.is_sweep ? SweepRow(options, runs.back())
                                   : RunTable(options, runs.back()))
              << std::flush;
  }
  client->OnInterrupt(nullptr);
  if (!json_on_output && setting.is_sweep) {
    for (const BenchRun& run : runs) std::cout << FailureLines(PointTitle(run.point), run.summary);
  }
  const auto json = BenchJson(setting, runs)
                        .dump(json_on_output ? -1 : 1, ' ', /*ensure_ascii=*/false,
                              nlohmann::json::error_handler_t::replace);
  if (json_on_output) std::cout << json << std::endl;
  const bool has_json = !json_file.is_open() || WriteAll(json + "\n", &json_file);
  const bool has_report =
      !report_file.is_open() || WriteAll(BenchReport(setting, runs), &report_file);
  if (has_json && has_report) return exit_code;
  std::cerr << "retnet: " << (has_json ? "--report " : "--json ")
            << (has_json ? options.report_path : *options.json_path) << " cannot be written\n";
  return kExitOutput;
}

}  // namespace retnet
