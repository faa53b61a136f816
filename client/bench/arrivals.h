// The times at which the requests of an open-loop load arrive.
#ifndef RETNET_CLIENT_BENCH_ARRIVALS_H_
#define RETNET_CLIENT_BENCH_ARRIVALS_H_

#include <cstdint>
#include <limits>
#include <random>

namespace retnet {

struct ArrivalOptions {
  double request_rate =
      std::numeric_limits<double>::infinity();  // per second; infinity: all at once
  // Shape of the gamma distribution of the times between arrivals. 1 gives a Poisson process, less
  // gives clusters, more gives regular arrivals, infinity gives equal gaps.
  double burstiness = 1;
  // Number of requests that arrive together. request_rate still counts requests.
  int32_t burst_size = 1;
};

// The same seed gives the same arrivals.
class Arrivals {
 public:
  Arrivals(const ArrivalOptions& options, uint64_t seed);

  // Seconds from the start of the run to the next arrival. Never decreases.
  double Next();

 private:
  const ArrivalOptions options_;
  std::mt19937_64 random_;
  std::gamma_distribution<double> gap_;  // seconds between bursts
  double now_ = 0;
  int32_t left_in_burst_ = 0;
};

}  // namespace retnet

#endif  // RETNET_CLIENT_BENCH_ARRIVALS_H_
