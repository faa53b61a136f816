// A finished run and its options, as table, JSON and report show them.
#ifndef RETNET_CLIENT_BENCH_RUN_H_
#define RETNET_CLIENT_BENCH_RUN_H_

#include <string>
#include <vector>

#include "client/bench/load_summary.h"
#include "client/bench/options.h"

namespace retnet {

struct BenchRun {
  BenchPoint point;
  LoadResult result;
  LoadSummary summary;
};

// What all runs of one command share.
struct BenchSetting {
  const BenchOptions* options;
  v1::GetModelResponse model;
  std::string target;
  Access access;
  std::string date;     // YYYYMMDD-HHMMSS, local time
  std::string command;  // the command line
  bool is_sweep = false;
};

struct NamedSamples {
  std::string key;    // in JSON: "ttft"
  std::string title;  // for people: "TTFT"
  const Samples* samples;
};

// The latencies that the options ask for, then those that the server reported.
std::vector<NamedSamples> ReportedLatencies(const BenchOptions& options,
                                            const Latencies& latencies);
std::vector<NamedSamples> ServerLatencies(const Latencies& latencies);

// "4 req/s", "8 at once", "all at once".
std::string PointTitle(const BenchPoint& point);
// The name of the swept option, as a heading.
std::string SweptTitle(const BenchOptions& options);
// The value of the swept option at this point.
std::string SweptValue(const BenchOptions& options, const BenchPoint& point);

}  // namespace retnet

#endif  // RETNET_CLIENT_BENCH_RUN_H_
