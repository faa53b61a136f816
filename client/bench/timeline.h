// A run over time, divided into equal intervals.
#ifndef RETNET_CLIENT_BENCH_TIMELINE_H_
#define RETNET_CLIENT_BENCH_TIMELINE_H_

#include <vector>

#include "client/bench/load_runner.h"

namespace retnet {

// Counts all requests, however they ended.
struct Timeline {
  double interval = 0;  // seconds; the last interval ends with the run
  std::vector<double> tokens_per_second;
  // Requests, averaged over the interval.
  std::vector<double> waiting;    // sent, without a token yet
  std::vector<double> streaming;  // from the first token on
};

// Makes at most `intervals` intervals, each at least 1/20 s. Makes none for a run of zero length.
Timeline MakeTimeline(const LoadResult& result, int intervals);

}  // namespace retnet

#endif  // RETNET_CLIENT_BENCH_TIMELINE_H_
