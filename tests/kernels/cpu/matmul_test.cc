#include "kernels/cpu/matmul.h"

#include <algorithm>
#include <tuple>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/kernels/cpu/instruction_sets.h"
#include "tests/kernels/matmul_cases.h"

namespace retnet::cpu {
namespace {

using Case = std::tuple<InstructionSet, ElementType>;

class MatMulTest : public testing::TestWithParam<Case> {
 protected:
  const InstructionSet set_ = std::get<0>(GetParam());
  const ElementType type_ = std::get<1>(GetParam());
  const MatMulOperators matmul_ = MatMulOperatorsFor(set_);
  const RowOperators row_operators_ = RowOperatorsFor(set_);
  const bool pairs_ = type_ == ElementType::kBFloat16 && matmul_.bfloat16_pairs;
  const MatMul multiply_ = matmul_.For(type_);
  ThreadPool pool_{1};
  std::mt19937 random_{22};

  int64_t Below(int64_t bound) { return static_cast<int64_t>(random_() % bound); }

  PackedWeight Pack(const RandomTensor& tensor) {
    absl::StatusOr<PackedWeight> weight = PackedWeight::Pack({&tensor.view, 1}, pool_);
    EXPECT_TRUE(weight.ok()) << weight.status();
    return *std::move(weight);
  }

  // y (+)= x·Wᵀ, all strips at once.
  void Multiply(const std::vector<float>& x, int64_t rows, const PackedWeight& weight, bool add,
                MatrixView<float> y) {
    const PreparedRows prepared(row_operators_, pairs_, x.data(), rows, weight.inputs());
    multiply_(prepared.view, weight, 0, StripsOf(weight.outputs()), add, y);
  }
};

TEST_P(MatMulTest, AgreesWithDoubleForAnyShape) {
  for (int trial = 0; trial < 40; ++trial) {
    const int64_t rows = trial % 3 == 0 ? 1 : 1 + Below(40);
    const int64_t inputs = trial % 8 == 0 ? 1 + Below(1400) : 1 + Below(150);
    const int64_t outputs = 1 + Below(150);
    const int64_t stride = outputs + Below(3);
    const bool add = trial % 2 == 0;
    SCOPED_TRACE(testing::Message() << rows << " rows, " << inputs << " -> " << outputs);
    const RandomTensor w(type_, outputs, inputs, random_);
    const std::vector<float> x = RandomFloats(rows * inputs, random_);
    const std::vector<float> before = RandomFloats(rows * stride, random_);
    std::vector<float> y = before;
    Multiply(x, rows, Pack(w), add, {y.data(), rows, outputs, stride});
    for (int64_t i = 0; i < rows; ++i) {
      for (int64_t j = 0; j < stride; ++j) {
        if (j >= outputs) {  // beyond the row: untouched
          ASSERT_EQ(y[i * stride + j], before[i * stride + j]);
          continue;
        }
        double sum = add ? before[i * stride + j] : 0.0, magnitude = std::abs(sum);
        for (int64_t k = 0; k < inputs; ++k) {
          const double term = Factor(x[i * inputs + k], pairs_) * w.At(j, k);
          sum += term;
          magnitude += std::abs(term);
        }
        // Each addition rounds by half an ulp at most. Without fused multiply-add, each
        // multiplication does too.
        ASSERT_LE(std::abs(y[i * stride + j] - sum), 2 * (inputs + 8) * 0x1p-24 * magnitude)
            << "at " << i << ", " << j;
      }
    }
  }
}

TEST_P(MatMulTest, ARowHasTheSameBitsAloneAndAmongAnyNumber) {
  for (const auto& [inputs, outputs] : {std::pair<int64_t, int64_t>{300, 83}, {1031, 37}}) {
    const int64_t rows = 61;
    const RandomTensor w(type_, outputs, inputs, random_);
    const PackedWeight weight = Pack(w);
    const std::vector<float> x = RandomFloats(rows * inputs, random_);
    const std::vector<float> before = RandomFloats(rows * outputs, random_);
    for (bool add : {false, true}) {
      std::vector<float> all = before;
      Multiply(x, rows, weight, add, {all.data(), rows, outputs});
      for (int64_t count : {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 25, 47}) {
        const int64_t first = Below(rows - count + 1);
        const std::vector<float> some(x.begin() + first * inputs,
                                      x.begin() + (first + count) * inputs);
        std::vector<float> y(before.begin() + first * outputs,
                             before.begin() + (first + count) * outputs);
        Multiply(some, count, weight, add, {y.data(), count, outputs});
        ASSERT_EQ(std::memcmp(y.data(), all.data() + first * outputs, y.size() * sizeof(float)), 0)
            << count << " rows from " << first;
      }
    }
  }
}

TEST_P(MatMulTest, StripsHaveTheSameBitsInAnyPortions) {
  const int64_t rows = 14, inputs = 270, outputs = 16 * 21 + 5;
  const RandomTensor w(type_, outputs, inputs, random_);
  const PackedWeight weight = Pack(w);
  const std::vector<float> x = RandomFloats(rows * inputs, random_);
  std::vector<float> whole(rows * outputs), portions(rows * outputs);
  Multiply(x, rows, weight, /*add=*/false, {whole.data(), rows, outputs});
  const PreparedRows prepared(row_operators_, pairs_, x.data(), rows, inputs);
  const MatrixView<float> y(portions.data(), rows, outputs);
  for (int64_t first = 0; first < StripsOf(outputs);) {
    const int64_t count = std::min(1 + Below(7), StripsOf(outputs) - first);
    const int64_t column = first * kStripColumns;
    multiply_(prepared.view, weight, first, count, /*add=*/false,
              y.Columns(column, std::min(count * kStripColumns, outputs - column)));
    first += count;
  }
  EXPECT_EQ(whole, portions);
}

TEST_P(MatMulTest, ReadRowGivesTheWeightsBack) {
  const int64_t inputs = 77, outputs = 35;
  const RandomTensor w(type_, outputs, inputs, random_);
  const PackedWeight weight = Pack(w);
  std::vector<float> row(inputs);
  for (int64_t j = 0; j < outputs; ++j) {
    weight.ReadRow(j, 4.0f, row.data());
    for (int64_t k = 0; k < inputs; ++k) ASSERT_EQ(row[k], 4.0 * w.At(j, k));
  }
}

std::string CaseName(const testing::TestParamInfo<Case>& info) {
  const auto [set, type] = info.param;
  return TestNameOf({set, 0}) + (type == ElementType::kFloat32   ? "_float32"
                                 : type == ElementType::kFloat16 ? "_float16"
                                                                 : "_bfloat16");
}

INSTANTIATE_TEST_SUITE_P(InstructionSets, MatMulTest,
                         testing::Combine(EveryInstructionSet(),
                                          testing::Values(ElementType::kFloat32,
                                                          ElementType::kFloat16,
                                                          ElementType::kBFloat16)),
                         CaseName);

class PackedWeightTest : public testing::Test {
 protected:
  ThreadPool pool_{2};
  std::mt19937 random_{23};
};

TEST_F(PackedWeightTest, StacksTensorsAndWidensMixedTypes) {
  const int64_t inputs = 19;
  const RandomTensor a(ElementType::kBFloat16, 5, inputs, random_);
  const RandomTensor b(ElementType::kFloat16, 20, inputs, random_);
  const RandomTensor c(ElementType::kFloat32, 1, inputs, random_);
  for (bool mixed : {false, true}) {
    const std::vector<HostTensor> tensors = mixed ? std::vector<HostTensor>{a.view, b.view, c.view}
                                                  : std::vector<HostTensor>{b.view, b.view};
    const absl::StatusOr<PackedWeight> weight = PackedWeight::Pack(tensors, pool_);
    ASSERT_TRUE(weight.ok()) << weight.status();
    EXPECT_EQ(weight->type(), mixed ? ElementType::kFloat32 : ElementType::kFloat16);
    std::vector<float> row(inputs);
    int64_t output = 0;
    for (const HostTensor& tensor : tensors) {
      for (int64_t i = 0; i < tensor.rows; ++i, ++output) {
        weight->ReadRow(output, 1.0f, row.data());
        for (int64_t k = 0; k < inputs; ++k) {
          ASSERT_EQ(row[k], ElementAt(tensor, i * inputs + k));
        }
      }
    }
    EXPECT_EQ(weight->outputs(), output);
  }
}

TEST_F(PackedWeightTest, RefusesWhatCannotBeStacked) {
  const RandomTensor a(ElementType::kFloat32, 3, 4, random_);
  const RandomTensor b(ElementType::kFloat32, 3, 5, random_);
  const HostTensor unequal[] = {a.view, b.view};
  EXPECT_EQ(PackedWeight::Pack(unequal, pool_).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(PackedWeight::Pack(unequal, pool_).status().message(),
              testing::HasSubstr("a weight of 4 columns cannot hold"));
  EXPECT_EQ(PackedWeight::Pack({}, pool_).status().code(), absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace retnet::cpu
