// The results as text for a terminal.
#ifndef RETNET_CLIENT_BENCH_TABLE_H_
#define RETNET_CLIENT_BENCH_TABLE_H_

#include <string>

#include "client/bench/run.h"

namespace retnet {

// Formats 12345.6 as "12,346" and 0.3 as "0.300": a whole number, or three significant digits.
std::string Figure(double value);

// All results of one run.
std::string RunTable(const BenchOptions& options, const BenchRun& run);
// A sweep's table, line by line as its runs end.
std::string SweepHeading(const BenchOptions& options);
std::string SweepRow(const BenchOptions& options, const BenchRun& run);
// One line for each status of failed requests. Empty if none failed.
std::string FailureLines(const std::string& title, const LoadSummary& summary);

}  // namespace retnet

#endif  // RETNET_CLIENT_BENCH_TABLE_H_
