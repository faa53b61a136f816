// Exact statistics of one measured quantity.
#ifndef RETNET_CLIENT_BENCH_SAMPLES_H_
#define RETNET_CLIENT_BENCH_SAMPLES_H_

#include <vector>

namespace retnet {

// Every sample is kept, eight bytes each: no sketch stands between a tail and its figure.
class Samples {
 public:
  Samples() = default;
  explicit Samples(std::vector<double> values);

  bool empty() const { return sorted_.empty(); }
  // Ascending.
  const std::vector<double>& sorted() const { return sorted_; }

  // The rest must not be asked of no samples.
  double Mean() const;
  // Of the samples as the whole population, as numpy.std has it.
  double StandardDeviation() const;
  // percent 0 to 100; between two samples it interpolates linearly, as numpy.percentile does.
  double Percentile(double percent) const;
  double Greatest() const { return sorted_.back(); }

 private:
  std::vector<double> sorted_;
};

}  // namespace retnet

#endif  // RETNET_CLIENT_BENCH_SAMPLES_H_
