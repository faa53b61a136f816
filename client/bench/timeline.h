// A run over time, in equal intervals.
#ifndef RETNET_CLIENT_BENCH_TIMELINE_H_
#define RETNET_CLIENT_BENCH_TIMELINE_H_

#include <vector>

#include "client/bench/load_runner.h"

namespace retnet {

// Of all requests, whatever became of them.
struct Timeline {
  double interval = 0;  // seconds; the last one ends with the run
  std::vector<double> tokens_per_second;
  // Requests, averaged over the interval.
  std::vector<double> waiting;    // sent, and no token there
  std::vector<double> streaming;  // from the first token on
};

// At most `intervals` of at least a twentieth of a second; none for a run without a length.
Timeline MakeTimeline(const LoadResult& result, int intervals);

}  // namespace retnet

#endif  // RETNET_CLIENT_BENCH_TIMELINE_H_
