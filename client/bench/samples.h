// Exact statistics of one measured quantity.
#ifndef RETNET_CLIENT_BENCH_SAMPLES_H_
#define RETNET_CLIENT_BENCH_SAMPLES_H_

#include <vector>

namespace retnet {

// Keeps every sample (eight bytes each), so that the percentiles of the tail are exact.
class Samples {
 public:
  Samples() = default;
  explicit Samples(std::vector<double> values);

  bool empty() const { return sorted_.empty(); }
  // Ascending.
  const std::vector<double>& sorted() const { return sorted_; }

  // The functions below require at least one sample.
  double Mean() const;
  // Population standard deviation, as numpy.std computes it.
  double StandardDeviation() const;
  // `percent` is 0 to 100. Interpolates linearly between two samples, as numpy.percentile does.
  double Percentile(double percent) const;
  double Greatest() const { return sorted_.back(); }

 private:
  std::vector<double> sorted_;
};

}  // namespace retnet

#endif  // RETNET_CLIENT_BENCH_SAMPLES_H_
