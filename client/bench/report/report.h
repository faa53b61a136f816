// The figures as a page for a browser.
#ifndef RETNET_CLIENT_BENCH_REPORT_REPORT_H_
#define RETNET_CLIENT_BENCH_REPORT_REPORT_H_

#include <string>
#include <vector>

#include "client/bench/run.h"

namespace retnet {

// HTML that is well-formed XML too and refers to nothing outside itself. At least one run; of a
// sweep, each run's own plots are folded.
std::string BenchReport(const BenchSetting& setting, const std::vector<BenchRun>& runs);

}  // namespace retnet

#endif  // RETNET_CLIENT_BENCH_REPORT_REPORT_H_
