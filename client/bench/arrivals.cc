#include "client/bench/arrivals.h"

#include <cmath>

namespace retnet {
namespace {

// The distribution wants finite parameters even where it is not asked.
std::gamma_distribution<double> Gaps(const ArrivalOptions& options) {
  if (std::isinf(options.request_rate) || std::isinf(options.burstiness)) return {};
  const double mean = options.burst_size / options.request_rate;
  return std::gamma_distribution<double>(options.burstiness, mean / options.burstiness);
}

}  // namespace

Arrivals::Arrivals(const ArrivalOptions& options, uint64_t seed)
    : options_(options), random_(seed), gap_(Gaps(options)) {}

double Arrivals::Next() {
  if (std::isinf(options_.request_rate)) return 0;
  if (left_in_burst_ == 0) {
    now_ += std::isinf(options_.burstiness) ? options_.burst_size / options_.request_rate
                                            : gap_(random_);
    left_in_burst_ = options_.burst_size;
  }
  --left_in_burst_;
  return now_;
}

}  // namespace retnet
