// The figures as a page for a browser.
#ifndef RETNET_SERVER_CLI_BENCH_BENCH_REPORT_H_
#define RETNET_SERVER_CLI_BENCH_BENCH_REPORT_H_

#include <string>
#include <vector>

#include "server/cli/bench/bench_run.h"

namespace retnet {

// HTML that is well-formed XML too and refers to nothing outside itself. At least one run; of a
// sweep, each run's own plots are folded.
std::string BenchReport(const BenchSetting& setting, const std::vector<BenchRun>& runs);

}  // namespace retnet

#endif  // RETNET_SERVER_CLI_BENCH_BENCH_REPORT_H_
