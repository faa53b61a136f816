#include "kernels/reference/reference_kernels.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "kernels/element.h"

namespace retnet {
namespace {

static_assert(Kernels<ReferenceKernels>);

// RMSNorm(x)·weight of one row.
std::vector<double> Normalized(const float* x, int64_t columns, Norm norm) {
  double sum_of_squares = 0;
  for (int64_t i = 0; i < columns; ++i) sum_of_squares += double{x[i]} * x[i];
  const double scale = 1 / std::sqrt(sum_of_squares / columns + norm.epsilon);
  std::vector<double> y(columns);
  for (int64_t i = 0; i < columns; ++i) {
    y[i] = x[i] * scale * (norm.weight != nullptr ? norm.weight[i] : 1.0);
  }
  return y;
}

template <typename X>
double Dot(const X* x, const ReferenceKernels::Weight& weight, int64_t row) {
  const float* w = weight.values.data() + row * weight.columns;
  double sum = 0;
  for (int64_t i = 0; i < weight.columns; ++i) sum += double{x[i]} * w[i];
  return sum;
}

double Activate(Activation activation, double x) {
  if (activation == Activation::kSilu) return x / (1 + std::exp(-x));
  return x * 0.5 * (1 + std::erf(x / std::sqrt(2.0)));
}

}  // namespace

ReferenceKernels::Buffer::Buffer(int64_t size) : values_(new float[size]) {
  std::fill_n(values_.get(), size, std::numeric_limits<float>::quiet_NaN());
}

absl::StatusOr<ReferenceKernels::Weight> ReferenceKernels::Pack(
    std::span<const HostTensor> matrices) const {
  if (matrices.empty()) {
    return absl::InvalidArgumentError("a weight is made of at least one matrix");
  }
  Weight weight;
  weight.columns = matrices[0].columns;
  for (const HostTensor& matrix : matrices) {
    if (matrix.columns != weight.columns) {
      return absl::InvalidArgumentError(absl::StrCat("matrices of one weight have ", weight.columns,
                                                     " and ", matrix.columns, " columns"));
    }
    weight.rows += matrix.rows;
    for (int64_t i = 0; i < matrix.rows * matrix.columns; ++i) {
      weight.values.push_back(ElementAt(matrix, i));
    }
  }
  return weight;
}

absl::StatusOr<ReferenceKernels::Buffer> ReferenceKernels::Upload(
    std::span<const float> values) const {
  Buffer buffer(static_cast<int64_t>(values.size()));
  std::copy(values.begin(), values.end(), buffer.data());
  return buffer;
}

absl::StatusOr<ReferenceKernels::Buffer> ReferenceKernels::Allocate(int64_t size) const {
  return Buffer(size);
}

absl::StatusOr<ReferenceKernels::PositionTables> ReferenceKernels::AllocatePositionTables(
    int64_t max_rows, std::span<const double> theta, std::span<const float> decays) const {
  const auto unset = [max_rows](size_t columns) {
    return std::vector<double>(max_rows * columns, std::numeric_limits<double>::quiet_NaN());
  };
  return PositionTables{{theta.begin(), theta.end()},
                        {decays.begin(), decays.end()},
                        unset(theta.size()),
                        unset(theta.size()),
                        unset(decays.size())};
}

void ReferenceKernels::Embed(std::span<const TokenId> tokens, const LastTokens& last_tokens,
                             const Weight& weight, float multiplier, MatrixView<float> x) const {
  for (size_t i = 0; i < tokens.size(); ++i) {
    const int64_t token = last_tokens.Resolve(tokens[i]);
    for (int64_t column = 0; column < weight.columns; ++column) {
      const double element = weight.values[token * weight.columns + column];
      x.row(i)[column] = static_cast<float>(element * multiplier);
    }
  }
}

void ReferenceKernels::Normalize(Norm norm, MatrixView<float> x) const {
  for (int64_t row = 0; row < x.rows; ++row) {
    const std::vector<double> y = Normalized(x.row(row), x.columns, norm);
    std::transform(y.begin(), y.end(), x.row(row), [](double value) { return float(value); });
  }
}

void ReferenceKernels::FillPositionTables(std::span<const int32_t> positions,
                                          PositionTables& tables) const {
  const size_t pairs = tables.theta.size();
  for (size_t row = 0; row < positions.size(); ++row) {
    for (size_t pair = 0; pair < pairs; ++pair) {
      const double angle = positions[row] * tables.theta[pair];
      tables.cosines[row * pairs + pair] = std::cos(angle);
      tables.sines[row * pairs + pair] = std::sin(angle);
    }
    for (size_t head = 0; head < tables.decays.size(); ++head) {
      const double gamma = tables.decays[head];
      tables.decay_sums[row * tables.decays.size() + head] =
          (1 - std::pow(gamma, int64_t{positions[row]} + 1)) / (1 - gamma);
    }
  }
}

void ReferenceKernels::NormMatMul(MatrixView<const float> x, Norm norm, const Weight& weight,
                                  MatrixView<float> y) const {
  for (int64_t row = 0; row < x.rows; ++row) {
    const std::vector<double> z = Normalized(x.row(row), x.columns, norm);
    for (int64_t output = 0; output < weight.rows; ++output) {
      y.row(row)[output] = static_cast<float>(Dot(z.data(), weight, output));
    }
  }
}

void ReferenceKernels::MatMulAdd(MatrixView<const float> y, const Weight& weight,
                                 MatrixView<float> x) const {
  for (int64_t row = 0; row < y.rows; ++row) {
    for (int64_t output = 0; output < weight.rows; ++output) {
      float& sum = x.row(row)[output];
      sum = static_cast<float>(sum + Dot(y.row(row), weight, output));
    }
  }
}

void ReferenceKernels::NormGatedMatMul(MatrixView<const float> x, Norm norm, const Weight& weight,
                                       Activation activation, MatrixView<float> y) const {
  const int64_t outputs = weight.rows / 2;
  for (int64_t row = 0; row < x.rows; ++row) {
    const std::vector<double> z = Normalized(x.row(row), x.columns, norm);
    for (int64_t output = 0; output < outputs; ++output) {
      const double gate = Dot(z.data(), weight, output);
      const double up = Dot(z.data(), weight, outputs + output);
      y.row(row)[output] = static_cast<float>(Activate(activation, gate) * up);
    }
  }
}

void ReferenceKernels::Gather(MatrixView<const float> x, std::span<const int32_t> indices,
                              MatrixView<float> y) const {
  for (size_t i = 0; i < indices.size(); ++i) {
    std::copy_n(x.row(indices[i]), x.columns, y.row(i));
  }
}

}  // namespace retnet
