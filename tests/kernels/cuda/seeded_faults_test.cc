// One small call of each operator into which seeded_faults.cmake puts a fault. Without the fault,
// all pass under every check of the emulator.
#include <cmath>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kernels/cuda/cuda_kernels.h"
#include "kernels/reference/reference_kernels.h"
#include "tests/kernels/cuda/cuda_backends.h"
#include "tests/kernels/retention_world.h"

namespace retnet::cuda {
namespace {

using PromptRows = CudaBackend<CudaRows::kPrompt>;

TEST(SeededFaults, Normalize) {
  const auto kernels = PromptRows::Make(/*threads=*/1);
  const std::vector<float> values(300, 3.0f);
  const auto x = *kernels->Upload(values);
  kernels->Normalize({.epsilon = 0}, MatrixView<float>(x.data(), 1, 300));
  ASSERT_TRUE(kernels->Finish().ok());
  EXPECT_THAT(NumbersOnHost(*kernels, x.data(), 300), testing::Each(testing::FloatNear(1, 1e-6)));
}

TEST(SeededFaults, PositionTables) {
  const auto kernels = PromptRows::Make(/*threads=*/1);
  const std::vector<double> thetas(33, 0.5);
  auto tables = *kernels->AllocatePositionTables(/*max_rows=*/3, thetas, std::vector<float>{0.5f});
  kernels->FillPositionTables(std::vector<int32_t>{0, 2, 4}, tables);
  ASSERT_TRUE(kernels->Finish().ok());
  const auto cosines = NumbersOnHost(*kernels, tables.cosines.data(), 3 * 33);
  for (int i = 0; i < 3 * 33; ++i) EXPECT_FLOAT_EQ(cosines[i], std::cos(i / 33));
  EXPECT_THAT(NumbersOnHost(*kernels, tables.decay_sums.data(), 3),
              testing::ElementsAre(1.0f, 1.75f, 1.9375f));
}

TEST(SeededFaults, Retention) {
  const RetentionShape shape{
      .layers = 1, .heads = 2, .kv_heads = 1, .key_dim = 24, .value_dim = 20, .slots = 1};
  RetentionWorld cuda(PromptRows::Make(/*threads=*/1), shape);
  RetentionWorld reference(std::make_unique<ReferenceKernels>(), shape);
  const std::vector<float> expected = reference.Step({{0, /*text=*/1, /*tokens=*/70}});
  const std::vector<float> actual = cuda.Step({{0, /*text=*/1, /*tokens=*/70}});
  ASSERT_EQ(actual.size(), expected.size());
  // Tails are rounded to bf16, and the norm's weights go up to 20.
  for (size_t i = 0; i < expected.size(); ++i) EXPECT_NEAR(actual[i], expected[i], 0.5);
}

TEST(SeededFaults, Sample) {
  const auto kernels = PromptRows::Make(/*threads=*/1);
  std::vector<float> logits(50, 0.0f);
  logits[7] = 5;
  const auto uploaded = *kernels->Upload(logits);
  const auto packed = kernels->Pack(std::vector<HostTensor>{
      {.data = std::as_bytes(std::span(logits)).data(), .rows = 50, .columns = 1}});
  ASSERT_TRUE(packed.ok());  // reserves scratch for rows of this many logits
  std::vector<SampleResult> results(1);
  const std::vector<SampleRequest> requests(1);
  const std::vector<int32_t> keep_in{kNotKept};
  auto last_tokens = *kernels->AllocateLastTokens(1);
  kernels->Sample(MatrixView<const float>(uploaded.data(), 1, 50), requests, keep_in, last_tokens,
                  results);
  ASSERT_TRUE(kernels->Finish().ok());
  EXPECT_EQ(results[0].token, 7);
}

}  // namespace
}  // namespace retnet::cuda
