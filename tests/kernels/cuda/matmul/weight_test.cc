#include "kernels/cuda/matmul/weight.h"

#include <random>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/kernels/matmul_cases.h"

namespace retnet::cuda {
namespace {

TEST(CudaWeight, StacksTensorsPadsRowsAndWidensMixedTypes) {
  std::mt19937 random(32);
  const int64_t inputs = 19;
  const RandomTensor a(ElementType::kBFloat16, 5, inputs, random);
  const RandomTensor b(ElementType::kFloat16, 20, inputs, random);
  for (const bool mixed : {false, true}) {
    const HostTensor tensors[] = {mixed ? a.view : b.view, b.view};
    const auto weight = CudaWeight::Upload(tensors, nullptr);
    ASSERT_TRUE(weight.ok()) << weight.status();
    EXPECT_EQ(weight->type(), mixed ? ElementType::kFloat32 : ElementType::kFloat16);
    EXPECT_EQ(weight->stride(), mixed ? 32 : 64);
    EXPECT_EQ(weight->outputs(), mixed ? 25 : 40);
    EXPECT_EQ(weight->bytes(), weight->outputs() * 128);
    std::vector<std::byte> bytes(weight->bytes());
    ASSERT_EQ(cudaMemcpy(bytes.data(), weight->data(), bytes.size(), cudaMemcpyDeviceToHost),
              cudaSuccess);
    const HostTensor got{weight->type(), bytes.data(), weight->outputs(), weight->stride()};
    for (int64_t i = 0; i < got.rows; ++i) {
      const bool in_first = i < tensors[0].rows;
      const HostTensor& from = tensors[in_first ? 0 : 1];
      const int64_t row = in_first ? i : i - tensors[0].rows;
      for (int64_t j = 0; j < got.columns; ++j) {
        ASSERT_EQ(ElementAt(got, i * got.columns + j),
                  j < inputs ? ElementAt(from, row * inputs + j) : 0.0f);
      }
    }
  }
}

TEST(CudaWeight, RefusesWhatCannotBeStacked) {
  std::mt19937 random(33);
  const RandomTensor a(ElementType::kFloat32, 3, 4, random);
  const RandomTensor b(ElementType::kFloat32, 3, 5, random);
  const HostTensor unequal[] = {a.view, b.view};
  const absl::Status status = CudaWeight::Upload(unequal, nullptr).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(status.message(), testing::HasSubstr("a weight of 4 columns cannot hold"));
  EXPECT_EQ(CudaWeight::Upload({}, nullptr).status().code(), absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace retnet::cuda
