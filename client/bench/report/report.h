// The results as a page for a browser.
#ifndef RETNET_CLIENT_BENCH_REPORT_REPORT_H_
#define RETNET_CLIENT_BENCH_REPORT_REPORT_H_

#include <string>
#include <vector>

#include "client/bench/run.h"

namespace retnet {

// Returns HTML that is also well-formed XML and loads nothing from elsewhere. `runs` must not be
// empty. In a sweep, the plots of each run are folded away.
std::string BenchReport(const BenchSetting& setting, const std::vector<BenchRun>& runs);

}  // namespace retnet

#endif  // RETNET_CLIENT_BENCH_REPORT_REPORT_H_
