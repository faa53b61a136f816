// The source of the matrix product with VDPBF16PS, executed through SIMDe on any machine.
#define SIMDE_ENABLE_NATIVE_ALIASES
#include <algorithm>
#include <array>
#include <utility>

#include "gtest/gtest.h"
#include "simde/x86/avx512.h"
#include "tests/kernels/matmul_cases.h"

namespace retnet::cpu {
namespace emulated {
#include "kernels/cpu/bfloat16_dot-inl.h"
}  // namespace emulated
namespace {

TEST(BFloat16Dot, EmulatedAgreesWithDoubleAndIsTheSameForARowAlone) {
  std::mt19937 random(24);
  ThreadPool pool(1);
  const RowOperators rows_of = RowOperatorsFor(InstructionSet::kScalar);
  for (int64_t rows : {1, 2, 5, 7, 12, 13, 30}) {
    for (const auto& [inputs, outputs] :
         {std::pair<int64_t, int64_t>{1, 1}, {33, 50}, {600, 17}, {64, 128}}) {
      SCOPED_TRACE(testing::Message() << rows << " rows, " << inputs << " -> " << outputs);
      const RandomTensor w(ElementType::kBFloat16, outputs, inputs, random);
      const absl::StatusOr<PackedWeight> weight = PackedWeight::Pack({&w.view, 1}, pool);
      ASSERT_TRUE(weight.ok()) << weight.status();
      const std::vector<float> x = RandomFloats(rows * inputs, random);
      const PreparedRows prepared(rows_of, /*pairs=*/true, x.data(), rows, inputs);
      std::vector<float> y(rows * outputs);
      emulated::MultiplyWeight<emulated::BFloat16DotSource>(
          prepared.view, *weight, 0, StripsOf(outputs),
          /*add=*/false, {y.data(), rows, outputs});
      for (int64_t i = 0; i < rows; ++i) {
        for (int64_t j = 0; j < outputs; ++j) {
          double sum = 0, magnitude = 0;
          for (int64_t k = 0; k < inputs; ++k) {
            const double term = Factor(x[i * inputs + k], true) * w.At(j, k);
            sum += term;
            magnitude += std::abs(term);
          }
          ASSERT_LE(std::abs(y[i * outputs + j] - sum), (inputs + 2) * 0x1p-24 * magnitude);
        }
      }
      // SIMDe adds the two terms of a pair in another order than the processor, so only results of
      // SIMDe are compared bit for bit.
      const PreparedRows last(rows_of, /*pairs=*/true, x.data() + (rows - 1) * inputs, 1, inputs);
      std::vector<float> alone(outputs);
      emulated::MultiplyWeight<emulated::BFloat16DotSource>(
          last.view, *weight, 0, StripsOf(outputs), /*add=*/false, {alone.data(), 1, outputs});
      EXPECT_TRUE(std::equal(alone.begin(), alone.end(), y.end() - outputs));
    }
  }
}

}  // namespace
}  // namespace retnet::cpu
