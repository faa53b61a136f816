// Tests every operator of every backend against the reference, over one table of awkward shapes and
// types. Retention and sampling have their own tests. Instantiate the suite Operators with backends
// like those of backends.h.
#ifndef RETNET_TESTS_KERNELS_OPERATOR_CASES_H_
#define RETNET_TESTS_KERNELS_OPERATOR_CASES_H_

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "kernels/kernels.h"
#include "kernels/reference/reference_kernels.h"
#include "kernels/tensor.h"
#include "tests/kernels/backends.h"
#include "tests/kernels/numbers_on_host.h"

namespace retnet {

enum class Operator {
  kEmbed,
  kNormalize,
  kNormalizeUnweighted,
  kNormMatMul,
  kMatMulAdd,
  kNormSiluMatMul,
  kNormGeluMatMul,
  kGather,
};
inline constexpr Operator kOperators[] = {
    Operator::kEmbed,          Operator::kNormalize, Operator::kNormalizeUnweighted,
    Operator::kNormMatMul,     Operator::kMatMulAdd, Operator::kNormSiluMatMul,
    Operator::kNormGeluMatMul, Operator::kGather,
};

struct OperatorCase {
  int64_t rows;
  int64_t inputs;
  int64_t outputs;
};
inline constexpr OperatorCase kOperatorCases[] = {
    {1, 1, 1},    {2, 5, 3},     {1, 16, 16},   {3, 17, 33},   {7, 33, 17},     {64, 48, 100},
    {65, 31, 47}, {1, 700, 260}, {13, 257, 79}, {5, 1025, 48}, {130, 192, 384},
};
inline constexpr ElementType kTypes[] = {ElementType::kFloat32, ElementType::kFloat16,
                                         ElementType::kBFloat16};

inline std::vector<float> Normal(int64_t size, std::mt19937& random) {
  std::normal_distribution<float> normal;
  std::vector<float> values(size);
  for (float& value : values) value = normal(random);
  return values;
}

// A matrix of a checkpoint, at an odd address as files have them.
class Matrix {
 public:
  Matrix(ElementType type, int64_t rows, int64_t columns, std::mt19937& random)
      : type_(type), rows_(rows), columns_(columns), bytes_(1 + rows * columns * SizeOf(type)) {
    for (int64_t i = 0; i < rows * columns; ++i) {
      std::byte* element = &bytes_[1 + i * SizeOf(type)];
      if (type == ElementType::kFloat32) {
        const float value = std::normal_distribution<float>()(random);
        std::memcpy(element, &value, 4);
      } else {
        // Any sign and fraction, magnitudes from 1/8 to 2.
        const uint32_t bits = random();
        const uint32_t exponent = bits / 0x10000 % 4;
        const uint32_t half = type == ElementType::kFloat16
                                  ? (bits & 0x83FF) | (12 + exponent) << 10
                                  : (bits & 0x807F) | (124 + exponent) << 7;
        const auto narrow = static_cast<uint16_t>(half);
        std::memcpy(element, &narrow, 2);
      }
    }
  }

  // Rows [first, first + count).
  HostTensor Rows(int64_t first, int64_t count) const {
    return {type_, &bytes_[1] + first * columns_ * SizeOf(type_), count, columns_};
  }

 private:
  ElementType type_;
  int64_t rows_;
  int64_t columns_;
  std::vector<std::byte> bytes_;
};

struct Inputs {
  Inputs(OperatorCase shape, ElementType type, uint32_t seed)
      : shape(shape),
        random(seed),
        matrix(type, 2 * shape.outputs, shape.inputs, random),
        x(Normal(shape.rows * shape.inputs, random)),
        norm_weight(Normal(shape.inputs, random)),
        y(Normal(shape.rows * shape.outputs, random)) {
    for (int64_t row = 0; row < shape.rows; ++row) {
      tokens.push_back(static_cast<TokenId>(random() % (2 * shape.outputs)));
      indices.push_back(static_cast<int32_t>(random() % shape.rows));
    }
  }

  OperatorCase shape;
  std::mt19937 random;
  Matrix matrix;                   // [2 · outputs, inputs]
  std::vector<float> x;            // [rows, inputs]
  std::vector<float> norm_weight;  // [inputs]
  std::vector<float> y;            // [rows, outputs], what MatMulAdd adds to
  std::vector<TokenId> tokens;     // [rows]
  std::vector<int32_t> indices;    // [rows]
};

// The result of rows [first, first + rows) of the inputs, computed together.
template <typename K>
std::vector<float> Run(K& kernels, Operator op, const Inputs& inputs, int64_t first, int64_t rows) {
  const auto [all_rows, columns, outputs] = inputs.shape;
  const auto buffer = *kernels.Upload(inputs.x);
  const auto result = *kernels.Upload(inputs.y);
  const auto norm_weight = *kernels.Upload(inputs.norm_weight);
  const Norm norm{op == Operator::kNormalizeUnweighted ? nullptr : norm_weight.data(), 1e-5f};
  const MatrixView<float> all_x(buffer.data(), all_rows, columns);
  const MatrixView<float> x = all_x.Rows(first, rows);
  const MatrixView<float> y = MatrixView<float>(result.data(), all_rows, outputs).Rows(first, rows);
  const int64_t upper = (outputs + 2) / 3;
  std::vector<HostTensor> parts = {inputs.matrix.Rows(0, upper)};
  if (upper < outputs) parts.push_back(inputs.matrix.Rows(upper, outputs - upper));
  const auto stacked = *kernels.Pack(parts);
  const auto gated = *kernels.Pack(std::vector<HostTensor>{inputs.matrix.Rows(0, outputs),
                                                           inputs.matrix.Rows(outputs, outputs)});
  const auto done = [&](MatrixView<float> view) {
    EXPECT_TRUE(kernels.Finish().ok());
    return NumbersOnHost(kernels, view.data, view.rows * view.columns);
  };
  const auto gathered = *kernels.Allocate(rows * columns);
  const MatrixView<float> z(gathered.data(), rows, columns);
  switch (op) {
    case Operator::kEmbed:
      kernels.Embed(std::span(inputs.tokens).subspan(first, rows), *kernels.AllocateLastTokens(1),
                    gated, /*multiplier=*/1.7f, x);
      return done(x);
    case Operator::kNormalize:
    case Operator::kNormalizeUnweighted:
      kernels.Normalize(norm, x);
      return done(x);
    case Operator::kNormMatMul:
      kernels.NormMatMul(x, norm, stacked, y);
      return done(y);
    case Operator::kMatMulAdd:
      kernels.MatMulAdd(x, stacked, y);
      return done(y);
    case Operator::kNormSiluMatMul:
      kernels.NormGatedMatMul(x, norm, gated, Activation::kSilu, y);
      return done(y);
    case Operator::kNormGeluMatMul:
      kernels.NormGatedMatMul(x, norm, gated, Activation::kGelu, y);
      return done(y);
    case Operator::kGather:
      kernels.Gather(all_x, std::span(inputs.indices).subspan(first, rows), z);
      return done(z);
  }
  return {};
}

template <typename Backend>
class Operators : public BackendTest<Backend> {
 protected:
  // Calls body(operator, type, inputs) for all there are.
  template <typename Body>
  void ForEach(const Body& body) {
    uint32_t seed = 0;
    for (const OperatorCase& shape : kOperatorCases) {
      for (ElementType type : kTypes) {
        const Inputs inputs(shape, type, ++seed);
        for (Operator op : kOperators) {
          SCOPED_TRACE("operator " + std::to_string(static_cast<int>(op)) + ", type " +
                       std::to_string(static_cast<int>(type)) + ", " + std::to_string(shape.rows) +
                       " rows, " + std::to_string(shape.inputs) + " to " +
                       std::to_string(shape.outputs));
          body(op, type, inputs);
        }
      }
    }
  }
};
TYPED_TEST_SUITE_P(Operators);

TYPED_TEST_P(Operators, AgreeWithTheReference) {
  const auto kernels = TypeParam::Make(/*threads=*/2);
  ReferenceKernels reference;
  this->ForEach([&](Operator op, ElementType type, const Inputs& inputs) {
    const std::vector<float> expected = Run(reference, op, inputs, 0, inputs.shape.rows);
    const std::vector<float> result = Run(*kernels, op, inputs, 0, inputs.shape.rows);
    ASSERT_EQ(result.size(), expected.size());
    double squares = 0;
    double worst = 0;
    for (size_t i = 0; i < result.size(); ++i) {
      squares += double{expected[i]} * expected[i];
      const double error = std::abs(double{result[i]} - expected[i]);
      worst = error <= worst ? worst : error;  // NaN becomes the worst and stays
    }
    EXPECT_LE(worst, TypeParam::ErrorBound(type) * std::sqrt(squares / expected.size()));
  });
}

TYPED_TEST_P(Operators, GiveARowTheSameBitsAloneAndAmongOthers) {
  const auto kernels = TypeParam::Make(/*threads=*/2);
  std::mt19937 random(9);
  this->ForEach([&](Operator op, ElementType type, const Inputs& inputs) {
    if (!TypeParam::RowsAreExact(type)) return;
    const int64_t rows = inputs.shape.rows;
    const std::vector<float> whole = Run(*kernels, op, inputs, 0, rows);
    const int64_t columns = static_cast<int64_t>(whole.size()) / rows;
    const int64_t row = random() % rows;
    for (int64_t count : {int64_t{1}, 1 + static_cast<int64_t>(random() % (rows - row))}) {
      const std::vector<float> part = Run(*kernels, op, inputs, row, count);
      ASSERT_EQ(part.size(), count * columns);
      EXPECT_EQ(std::memcmp(part.data(), &whole[row * columns], part.size() * sizeof(float)), 0);
    }
  });
}

TYPED_TEST_P(Operators, RefuseToStackUnequalColumns) {
  const auto kernels = TypeParam::Make(/*threads=*/1);
  std::mt19937 random(10);
  const Matrix wide(ElementType::kFloat32, 2, 5, random);
  const Matrix narrow(ElementType::kFloat32, 2, 4, random);
  const auto packed = kernels->Pack(std::vector<HostTensor>{wide.Rows(0, 2), narrow.Rows(0, 2)});
  EXPECT_EQ(packed.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(kernels->Pack({}).status().code(), absl::StatusCode::kInvalidArgument);
}

// The rows of the weight that `tensors` make.
template <typename K>
std::vector<float> EmbeddedRows(K& kernels, const std::vector<HostTensor>& tensors, int64_t rows) {
  const auto weight = *kernels.Pack(tensors);
  std::vector<TokenId> tokens(rows);
  std::iota(tokens.begin(), tokens.end(), 0);
  const int64_t columns = tensors[0].columns;
  const auto x = *kernels.Allocate(rows * columns);
  kernels.Embed(tokens, *kernels.AllocateLastTokens(1), weight, /*multiplier=*/1.0f,
                MatrixView<float>(x.data(), rows, columns));
  EXPECT_TRUE(kernels.Finish().ok());
  return NumbersOnHost(kernels, x.data(), rows * columns);
}

TYPED_TEST_P(Operators, PutRowsThatAreInterleavedInOrder) {
  const auto kernels = TypeParam::Make(/*threads=*/1);
  std::mt19937 random(11);
  for (ElementType type : kTypes) {
    for (ElementType other_type : kTypes) {
      const Matrix matrix(type, 12, 5, random);
      const Matrix other(other_type, 3, 5, random);
      HostTensor interleaved = matrix.Rows(0, 12);
      interleaved.interleaved_rows = 6;
      std::vector<HostTensor> ordered;
      for (int64_t row : {0, 2, 4, 1, 3, 5, 6, 8, 10, 7, 9, 11}) {
        ordered.push_back(matrix.Rows(row, 1));
      }
      ordered.push_back(other.Rows(0, 3));
      EXPECT_EQ(EmbeddedRows(*kernels, {interleaved, other.Rows(0, 3)}, 15),
                EmbeddedRows(*kernels, ordered, 15));
    }
  }
}

REGISTER_TYPED_TEST_SUITE_P(Operators, AgreeWithTheReference,
                            GiveARowTheSameBitsAloneAndAmongOthers, RefuseToStackUnequalColumns,
                            PutRowsThatAreInterleavedInOrder);

}  // namespace retnet

#endif  // RETNET_TESTS_KERNELS_OPERATOR_CASES_H_
