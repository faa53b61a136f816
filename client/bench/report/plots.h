// The plots of a report.
#ifndef RETNET_CLIENT_BENCH_REPORT_PLOTS_H_
#define RETNET_CLIENT_BENCH_REPORT_PLOTS_H_

#include <string>
#include <vector>

#include "client/bench/report/plot.h"
#include "client/bench/run.h"

namespace retnet {

// One plot for each latency that the options ask for and that has samples: its cumulative
// distribution over requests or gaps. `id` is the prefix of the plots' ids.
std::vector<Plot> DistributionPlots(const BenchOptions& options, const BenchRun& run,
                                    const std::string& id);
// Throughput and running streams over time. Empty for a run without requests.
std::vector<Plot> TimePlots(const BenchRun& run, const std::string& id);
// Throughput over the swept option, and latencies over throughput.
std::vector<Plot> SweepPlots(const BenchOptions& options, const std::vector<BenchRun>& runs);

}  // namespace retnet

#endif  // RETNET_CLIENT_BENCH_REPORT_PLOTS_H_
