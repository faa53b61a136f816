// The options of `retnet bench` and their flags.
#ifndef RETNET_CLIENT_BENCH_OPTIONS_H_
#define RETNET_CLIENT_BENCH_OPTIONS_H_

#include <CLI/CLI.hpp>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "client/bench/arrivals.h"
#include "client/bench/load_summary.h"
#include "client/bench/workload.h"

namespace retnet {

struct BenchOptions {
  // More than one value makes a sweep. Only one of the two may have more than one value.
  std::vector<double> request_rates;
  std::vector<int32_t> max_concurrencies;
  ArrivalOptions arrivals;  // request_rate is set for each point
  std::optional<int64_t> num_prompts;
  std::optional<double> duration_seconds;
  int32_t num_warmups = 1;
  int32_t connections = 1;

  WorkloadOptions workload;
  double range_ratio = 0;
  std::string dataset_path;
  double slow_reader_pause_ms = 20;

  GoodputGoals goals;
  std::vector<std::string> percentile_metrics = {"ttft", "tpot", "itl", "e2el"};
  std::vector<double> metric_percentiles = {50, 90, 99};
  std::string label;
  std::optional<std::string> json_path;  // "" or "-": standard output, instead of the table
  bool save_detailed = false;
  std::string report_path;
};

void AddBenchOptions(CLI::App* command, BenchOptions* options);

// One run of a sweep, or the only run.
struct BenchPoint {
  double request_rate;      // per second; infinity: all at once
  int32_t max_concurrency;  // 0: no limit
};

// The runs that the parsed flags ask for. Throws CLI::ValidationError if flags contradict each
// other.
std::vector<BenchPoint> BenchPoints(const BenchOptions& options);

}  // namespace retnet

#endif  // RETNET_CLIENT_BENCH_OPTIONS_H_
