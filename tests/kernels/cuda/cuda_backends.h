// CudaKernels as a backend of the test suites for all backends.
#ifndef RETNET_TESTS_KERNELS_CUDA_CUDA_BACKENDS_H_
#define RETNET_TESTS_KERNELS_CUDA_CUDA_BACKENDS_H_

#include <cuda_runtime.h>

#include <cstdint>
#include <limits>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "kernels/cuda/cuda_kernels.h"
#include "kernels/tensor.h"

namespace retnet::cuda {

inline std::vector<float> NumbersOnHost(const CudaKernels&, const float* data, int64_t size) {
  std::vector<float> numbers(size);
  EXPECT_EQ(cudaDeviceSynchronize(), cudaSuccess);
  EXPECT_EQ(cudaMemcpy(numbers.data(), data, size * sizeof(float), cudaMemcpyDeviceToHost),
            cudaSuccess);
  return numbers;
}

enum class CudaRows { kSampled, kPrompt };

// All rows of a backend have the same class.
template <CudaRows kRows>
struct CudaBackend {
  using Type = CudaKernels;
  static bool IsSupported() { return true; }
  static std::unique_ptr<Type> Make(int32_t /*threads*/) {
    auto kernels = CudaKernels::Make(/*max_rows=*/512);
    EXPECT_TRUE(kernels.ok()) << kernels.status();
    if (!kernels.ok()) return nullptr;
    if (kRows == CudaRows::kPrompt) kernels->SetSampledRows(0);
    return std::make_unique<Type>(*std::move(kernels));
  }
  // Matrix products round activations to the type of the weight, or to as many bits.
  // NormGatedMatMul multiplies two such results.
  static double ErrorBound(ElementType type) {
    return type == ElementType::kFloat32 ? 2e-5 : type == ElementType::kFloat16 ? 1e-2 : 5e-2;
  }
  // Whether a row has the same bits alone and among others. cuBLASLt does not promise this. Its
  // emulation without a GPU rounds four fp32 rows together differently from fewer rows.
  static bool RowsAreExact(ElementType type) {
    return kRows == CudaRows::kSampled || type != ElementType::kFloat32;
  }
  static std::string Name() { return kRows == CudaRows::kSampled ? "cuda_sampled" : "cuda_given"; }
};

}  // namespace retnet::cuda

#endif  // RETNET_TESTS_KERNELS_CUDA_CUDA_BACKENDS_H_
