#include "kernels/cpu/cpu_kernels.h"

#include <cmath>
#include <cstring>
#include <random>
#include <vector>

#include "gtest/gtest.h"
#include "kernels/reference/reference_kernels.h"
#include "tests/kernels/cpu/instruction_sets.h"
#include "tests/kernels/matmul_cases.h"

namespace retnet::cpu {
namespace {

constexpr int32_t kMaxRows = 130;

class CpuKernelsTest : public testing::TestWithParam<InstructionSet> {
 protected:
  CpuKernels Make(int32_t threads) {
    return CpuKernels({.threads = threads, .instruction_set = GetParam(), .max_rows = kMaxRows});
  }

  std::mt19937 random_{25};
};

template <typename T>
T ValueOf(absl::StatusOr<T> value) {
  EXPECT_TRUE(value.ok()) << value.status();
  return *std::move(value);
}

// The matrix products of one layer over `x` [rows, inputs]. For each row, the three results follow
// each other.
struct MatMuls {
  int64_t inputs, outputs;
  HostTensor norm_matmul;  // [outputs, inputs]
  HostTensor matmul_add;   // [outputs, inputs]
  HostTensor gate, up;     // [outputs, inputs] each
  Activation activation;

  template <typename K>
  std::vector<float> Compute(K& kernels, const std::vector<float>& x,
                             const std::vector<float>& norm,
                             const std::vector<float>& stream) const {
    const int64_t rows = static_cast<int64_t>(x.size()) / inputs;
    const auto weight = ValueOf(kernels.Pack(std::span(&norm_matmul, 1)));
    const auto add_weight = ValueOf(kernels.Pack(std::span(&matmul_add, 1)));
    const HostTensor halves[] = {gate, up};
    const auto gate_up = ValueOf(kernels.Pack(halves));
    const auto norm_weight = ValueOf(kernels.Upload(norm));
    std::vector<float> y(rows * 3 * outputs);
    const MatrixView<float> all(y.data(), rows, 3 * outputs);
    const MatrixView<const float> in(x.data(), rows, inputs);
    for (int64_t i = 0; i < rows; ++i) {
      std::copy_n(stream.data() + i * outputs, outputs, all.row(i) + outputs);
    }
    kernels.NormMatMul(in, {norm_weight.data(), 1e-6f}, weight, all.Columns(0, outputs));
    kernels.MatMulAdd(in, add_weight, all.Columns(outputs, outputs));
    kernels.NormGatedMatMul(in, {norm_weight.data(), 1e-6f}, gate_up, activation,
                            all.Columns(2 * outputs, outputs));
    return y;
  }
};

TEST_P(CpuKernelsTest, MatMulsAgreeWithTheReferenceAndKeepTheirBitsInAnyCompany) {
  CpuKernels one = Make(1), three = Make(3);
  ReferenceKernels reference;
  const ElementType types[] = {ElementType::kFloat32, ElementType::kFloat16,
                               ElementType::kBFloat16};
  const std::pair<int64_t, int64_t> shapes[] = {{96, 64}, {37, 300}, {301, 45}};
  for (int i = 0; i < 9; ++i) {
    const auto [inputs, outputs] = shapes[i % 3];
    const ElementType type = types[i / 3];
    SCOPED_TRACE(testing::Message() << inputs << " -> " << outputs << ", type " << i / 3);
    const RandomTensor a(type, outputs, inputs, random_), b(type, outputs, inputs, random_);
    const RandomTensor c(type, outputs, inputs, random_), d(type, outputs, inputs, random_);
    const MatMuls matmuls{inputs,
                          outputs,
                          a.view,
                          b.view,
                          c.view,
                          d.view,
                          i % 2 == 0 ? Activation::kSilu : Activation::kGelu};
    const int64_t rows = i % 3 == 2 ? kMaxRows : 20;
    const std::vector<float> x = RandomFloats(rows * inputs, random_);
    const std::vector<float> norm = RandomFloats(inputs, random_);
    const std::vector<float> stream = RandomFloats(rows * outputs, random_);
    const std::vector<float> y = matmuls.Compute(one, x, norm, stream);

    ASSERT_EQ(y, matmuls.Compute(three, x, norm, stream)) << "of three threads";
    for (int64_t row : {int64_t{0}, int64_t{7}, rows - 1}) {
      const std::vector<float> alone =
          matmuls.Compute(one, {x.begin() + row * inputs, x.begin() + (row + 1) * inputs}, norm,
                          {stream.begin() + row * outputs, stream.begin() + (row + 1) * outputs});
      ASSERT_EQ(
          std::memcmp(alone.data(), y.data() + row * 3 * outputs, alone.size() * sizeof(float)), 0)
          << "row " << row;
    }
    // Pairs of bf16 round the activations to 8 bits, all other factors to 24.
    const bool pairs = GetParam() == InstructionSet::kAvx512Bf16 && type == ElementType::kBFloat16;
    const double relative = pairs ? 0.01 : 2e-6;
    const std::vector<float> expected = matmuls.Compute(reference, x, norm, stream);
    for (size_t k = 0; k < y.size(); ++k) {
      // A sum of independent terms is about √inputs. The gated result is a product of two sums.
      const bool gated = static_cast<int64_t>(k) % (3 * outputs) >= 2 * outputs;
      const double typical = gated ? inputs : std::sqrt(inputs);
      ASSERT_LE(std::abs(y[k] - expected[k]), relative * (std::abs(expected[k]) + 3 * typical))
          << "at " << k;
    }
  }
}

TEST_P(CpuKernelsTest, RowsAreEmbeddedNormalizedAndGathered) {
  CpuKernels kernels = Make(2);
  ReferenceKernels reference;
  const int64_t hidden = 33, vocabulary = 70;
  const RandomTensor embeddings(ElementType::kBFloat16, vocabulary, hidden, random_);
  const std::vector<float> norm = RandomFloats(hidden, random_);
  std::vector<TokenId> tokens;
  for (int32_t i = 0; i < 40; ++i) tokens.push_back(i * 37 % vocabulary);
  const int32_t indices[] = {39, 0, 7, 7};
  const auto compute = [&](auto& backend) {
    const auto weight = ValueOf(backend.Pack(std::span(&embeddings.view, 1)));
    const auto norm_weight = ValueOf(backend.Upload(norm));
    std::vector<float> x(40 * hidden), y(4 * hidden);
    backend.Embed(tokens, {}, weight, 3.0f, MatrixView<float>(x.data(), 40, hidden));
    backend.Normalize({norm_weight.data(), 1e-3f}, MatrixView<float>(x.data(), 40, hidden));
    backend.Gather(MatrixView<const float>(x.data(), 40, hidden), indices,
                   MatrixView<float>(y.data(), 4, hidden));
    return y;
  };
  const std::vector<float> y = compute(kernels), expected = compute(reference);
  for (size_t i = 0; i < y.size(); ++i) {
    ASSERT_LE(std::abs(y[i] - expected[i]), 1e-6 * std::abs(expected[i]) + 1e-9);
  }
}

TEST_P(CpuKernelsTest, AnglesStayRightFarOut) {
  CpuKernels kernels = Make(2);
  const double thetas[] = {1.0, 0.3, 1e-4};
  auto tables = ValueOf(kernels.AllocatePositionTables(3, thetas, {}));
  const int32_t positions[] = {0, 102400, 2147483647};
  kernels.FillPositionTables(positions, tables);
  for (int i = 0; i < 3; ++i) {
    for (int j = 0; j < 3; ++j) {
      const long double angle = static_cast<long double>(positions[i]) * thetas[j];
      EXPECT_NEAR(tables.cosines.data()[i * 3 + j], std::cos(angle), 3e-7);
      EXPECT_NEAR(tables.sines.data()[i * 3 + j], std::sin(angle), 3e-7);
    }
  }
}

TEST_P(CpuKernelsTest, DecaySumsKeepTheirDigits) {
  CpuKernels kernels = Make(2);
  const float decays[] = {0.5f, 1 - 0x1p-12f, 1 - 0x1p-24f};
  auto tables = ValueOf(kernels.AllocatePositionTables(4, {}, decays));
  const int32_t positions[] = {0, 1, 4095, 2147483647};
  kernels.FillPositionTables(positions, tables);
  for (int i = 0; i < 4; ++i) {
    for (int h = 0; h < 3; ++h) {
      const long double gamma = decays[h];
      const long double sum = (1 - std::pow(gamma, positions[i] + 1.0L)) / (1 - gamma);
      EXPECT_FLOAT_EQ(tables.decay_sums.data()[i * 3 + h], static_cast<float>(sum));
    }
  }
}

INSTANTIATE_TEST_SUITE_P(InstructionSets, CpuKernelsTest, EveryInstructionSet(), TestNameOf);

}  // namespace
}  // namespace retnet::cpu
