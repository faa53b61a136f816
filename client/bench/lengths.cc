#include "client/bench/lengths.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

namespace retnet {
namespace {

// Beyond any context length that a server can have.
constexpr int32_t kMost = 1 << 30;

absl::StatusOr<int32_t> ParseLength(const std::string& text) {
  int32_t length = 0;
  if (!absl::SimpleAtoi(text, &length) || length < 1 || length > kMost) {
    return absl::InvalidArgumentError(absl::StrCat(text, " is not a length, 1 to ", kMost));
  }
  return length;
}

}  // namespace

Lengths::Lengths(int32_t length) : least_(length), greatest_(length) {}

Lengths Lengths::Uniform(int32_t least, int32_t greatest) {
  Lengths lengths(least);
  lengths.greatest_ = greatest;
  return lengths;
}

Lengths Lengths::Lognormal(double mean, double sigma) {
  Lengths lengths(1);
  lengths.kind_ = Kind::kLognormal;
  lengths.log_mean_ = std::log(mean) - sigma * sigma / 2;
  lengths.sigma_ = sigma;
  return lengths;
}

absl::StatusOr<Lengths> Lengths::Parse(const std::string& text) {
  const std::vector<std::string> parts = absl::StrSplit(text, ':');
  if (parts.size() == 1) {
    const auto length = ParseLength(text);
    if (!length.ok()) return length.status();
    return Lengths(*length);
  }
  if (parts.size() == 3 && parts[0] == "uniform") {
    const auto least = ParseLength(parts[1]);
    const auto greatest = ParseLength(parts[2]);
    if (!least.ok()) return least.status();
    if (!greatest.ok()) return greatest.status();
    if (*least > *greatest) {
      return absl::InvalidArgumentError(absl::StrCat(text, " has its least above its greatest"));
    }
    return Uniform(*least, *greatest);
  }
  if (parts.size() == 3 && parts[0] == "lognormal") {
    double mean = 0;
    double sigma = 0;
    if (!absl::SimpleAtod(parts[1], &mean) || !(mean >= 1 && mean <= kMost)) {
      return absl::InvalidArgumentError(absl::StrCat(parts[1], " is not a mean, 1 to ", kMost));
    }
    if (!absl::SimpleAtod(parts[2], &sigma) || !(sigma >= 0 && sigma <= 5)) {
      return absl::InvalidArgumentError(absl::StrCat(parts[2], " is not a sigma, 0 to 5"));
    }
    return Lognormal(mean, sigma);
  }
  return absl::InvalidArgumentError(
      absl::StrCat(text, " is not N, uniform:LEAST:GREATEST or lognormal:MEAN:SIGMA"));
}

Lengths Lengths::Spread(double ratio) const {
  if (kind_ != Kind::kUniform || least_ != greatest_) return *this;
  return Uniform(std::max(1, static_cast<int32_t>(std::floor(least_ * (1 - ratio)))),
                 static_cast<int32_t>(std::min<double>(std::ceil(least_ * (1 + ratio)), kMost)));
}

int32_t Lengths::Draw(int32_t bound, std::mt19937_64* random) const {
  if (kind_ == Kind::kUniform) {
    return std::min(bound, std::uniform_int_distribution(least_, greatest_)(*random));
  }
  const double length = std::lognormal_distribution(log_mean_, sigma_)(*random);
  return static_cast<int32_t>(std::clamp<double>(std::round(length), 1, bound));
}

int32_t Lengths::Greatest() const { return kind_ == Kind::kUniform ? greatest_ : 1; }

}  // namespace retnet
