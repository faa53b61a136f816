#include "client/bench/samples.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <numeric>
#include <utility>

namespace retnet {

Samples::Samples(std::vector<double> values) : sorted_(std::move(values)) {
  std::sort(sorted_.begin(), sorted_.end());
}

double Samples::Mean() const {
  return std::accumulate(sorted_.begin(), sorted_.end(), 0.0) / static_cast<double>(sorted_.size());
}

double Samples::StandardDeviation() const {
  const double mean = Mean();
  double squares = 0;
  for (const double value : sorted_) squares += (value - mean) * (value - mean);
  return std::sqrt(squares / static_cast<double>(sorted_.size()));
}

double Samples::Percentile(double percent) const {
  const double place = percent / 100 * static_cast<double>(sorted_.size() - 1);
  const auto below = static_cast<size_t>(place);
  const size_t above = std::min(below + 1, sorted_.size() - 1);
  return sorted_[below] + (place - static_cast<double>(below)) * (sorted_[above] - sorted_[below]);
}

}  // namespace retnet
