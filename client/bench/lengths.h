// How long prompts and outputs of a generated load are.
#ifndef RETNET_CLIENT_BENCH_LENGTHS_H_
#define RETNET_CLIENT_BENCH_LENGTHS_H_

#include <cstdint>
#include <random>
#include <string>

#include "absl/status/statusor.h"

namespace retnet {

// A distribution of numbers of tokens, all at least 1.
class Lengths {
 public:
  // Always `length`.
  explicit Lengths(int32_t length);
  // Integers from `least` to `greatest`, all equally likely.
  static Lengths Uniform(int32_t least, int32_t greatest);
  // The logarithm is normal with this standard deviation; `mean` is of the lengths themselves.
  static Lengths Lognormal(double mean, double sigma);

  // "N", "uniform:LEAST:GREATEST" or "lognormal:MEAN:SIGMA". An error says what is wrong with the
  // text, and not where it came from.
  static absl::StatusOr<Lengths> Parse(const std::string& text);

  // A plain N spread uniformly over N·(1 − ratio) to N·(1 + ratio); others are as they were.
  Lengths Spread(double ratio) const;

  // One length, cut to `bound`.
  int32_t Draw(int32_t bound, std::mt19937_64* random) const;
  // The greatest length that can come but for bounds; a lognormal one has none and gives 1.
  int32_t Greatest() const;

 private:
  enum class Kind { kUniform, kLognormal };
  Kind kind_ = Kind::kUniform;
  int32_t least_ = 1;
  int32_t greatest_ = 1;
  double log_mean_ = 0;  // of the logarithms
  double sigma_ = 0;
};

}  // namespace retnet

#endif  // RETNET_CLIENT_BENCH_LENGTHS_H_
