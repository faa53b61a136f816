// The lengths of prompts and outputs of a generated load.
#ifndef RETNET_CLIENT_BENCH_LENGTHS_H_
#define RETNET_CLIENT_BENCH_LENGTHS_H_

#include <cstdint>
#include <random>
#include <string>

#include "absl/status/statusor.h"

namespace retnet {

// A distribution of lengths in tokens. Every length is at least 1.
class Lengths {
 public:
  // Always `length`.
  explicit Lengths(int32_t length);
  // Integers from `least` to `greatest`, all equally likely.
  static Lengths Uniform(int32_t least, int32_t greatest);
  // The logarithm of a length is normal with standard deviation `sigma`. `mean` is the mean of the
  // lengths, not of the logarithms.
  static Lengths Lognormal(double mean, double sigma);

  // Parses "N", "uniform:LEAST:GREATEST" or "lognormal:MEAN:SIGMA". An error says what is wrong
  // with the text. The caller adds where the text came from.
  static absl::StatusOr<Lengths> Parse(const std::string& text);

  // Spreads a constant N uniformly over N·(1 − ratio) to N·(1 + ratio). Leaves other distributions
  // unchanged.
  Lengths Spread(double ratio) const;

  // Draws one length. A greater one is cut to `bound`.
  int32_t Draw(int32_t bound, std::mt19937_64* random) const;
  // The greatest length that can be drawn without a bound. A lognormal distribution has none; it
  // returns 1.
  int32_t Greatest() const;

 private:
  enum class Kind { kUniform, kLognormal };
  Kind kind_ = Kind::kUniform;
  int32_t least_ = 1;
  int32_t greatest_ = 1;
  double log_mean_ = 0;  // mean of the logarithms
  double sigma_ = 0;
};

}  // namespace retnet

#endif  // RETNET_CLIENT_BENCH_LENGTHS_H_
