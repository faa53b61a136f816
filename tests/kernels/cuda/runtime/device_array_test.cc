#include "kernels/cuda/runtime/device_array.h"

#include <gtest/gtest.h>

#include <limits>
#include <numeric>
#include <utility>
#include <vector>

namespace retnet::cuda {
namespace {

TEST(DeviceArray, HoldsWhatIsCopiedIntoIt) {
  auto array = DeviceArray<float>::Make(1000);
  ASSERT_TRUE(array.ok()) << array.status();
  std::vector<float> sent(1000), got(1000);
  std::iota(sent.begin(), sent.end(), 1.0f);
  ASSERT_EQ(cudaMemcpy(array->data(), sent.data(), 4000, cudaMemcpyHostToDevice), cudaSuccess);
  const DeviceArray<float> moved = *std::move(array);
  ASSERT_EQ(cudaMemcpy(got.data(), moved.data(), 4000, cudaMemcpyDeviceToHost), cudaSuccess);
  EXPECT_EQ(got, sent);
}

TEST(DeviceArray, SaysThatMemoryIsShortAndLeavesTheDeviceUsable) {
  for (int64_t size : {int64_t{1} << 50, std::numeric_limits<int64_t>::max(), int64_t{-1}}) {
    EXPECT_EQ(DeviceArray<float>::Make(size).status().code(), absl::StatusCode::kResourceExhausted);
  }
  EXPECT_TRUE(DeviceArray<float>::Make(10).ok());
  EXPECT_TRUE(DeviceArray<float>::Make(0).ok());
  EXPECT_EQ(cudaDeviceSynchronize(), cudaSuccess);
}

}  // namespace
}  // namespace retnet::cuda
