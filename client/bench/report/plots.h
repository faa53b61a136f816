// Which plots a report has.
#ifndef RETNET_CLIENT_BENCH_REPORT_PLOTS_H_
#define RETNET_CLIENT_BENCH_REPORT_PLOTS_H_

#include <string>
#include <vector>

#include "client/bench/report/plot.h"
#include "client/bench/run.h"

namespace retnet {

// The share of requests, or of gaps, that took at most so long: a plot for each latency that is
// asked for and has samples. `id` begins the plots' ids.
std::vector<Plot> DistributionPlots(const BenchOptions& options, const BenchRun& run,
                                    const std::string& id);
// Throughput and running streams over time; none for a run without requests.
std::vector<Plot> TimePlots(const BenchRun& run, const std::string& id);
// Throughput over what is swept, and latencies over throughput.
std::vector<Plot> SweepPlots(const BenchOptions& options, const std::vector<BenchRun>& runs);

}  // namespace retnet

#endif  // RETNET_CLIENT_BENCH_REPORT_PLOTS_H_
