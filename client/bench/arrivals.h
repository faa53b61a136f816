// When the requests of an open loop come.
#ifndef RETNET_CLIENT_BENCH_ARRIVALS_H_
#define RETNET_CLIENT_BENCH_ARRIVALS_H_

#include <cstdint>
#include <limits>
#include <random>

namespace retnet {

struct ArrivalOptions {
  double request_rate = std::numeric_limits<double>::infinity();  // requests a second; all at once
  // Shape of the gamma distribution of the times between arrivals. 1: a Poisson process; less:
  // clustered; more: regular; infinite: a metronome.
  double burstiness = 1;
  // So many come together; the rate is still of requests.
  int32_t burst_size = 1;
};

// The same seed gives the same arrivals.
class Arrivals {
 public:
  Arrivals(const ArrivalOptions& options, uint64_t seed);

  // Seconds from the start of the run to the next arrival; ascending.
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
