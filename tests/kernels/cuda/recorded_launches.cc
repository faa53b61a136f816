#include "tests/kernels/cuda/recorded_launches.h"

#include <cstddef>
#include <utility>

#include "gtest/gtest.h"

namespace {
std::vector<dim3> grids;
}  // namespace

// These replace the functions of the runtime, which need a driver.
extern "C" {

cudaError_t cudaLaunchKernelExC(const cudaLaunchConfig_t* config, const void* /*kernel*/,
                                void** /*arguments*/) {
  grids.push_back(config->gridDim);
  return cudaSuccess;
}

// What kernel<<<grid, block>>> calls first; unless it returns 0, the kernel is not launched.
unsigned __cudaPushCallConfiguration(dim3 grid, dim3 /*block*/, size_t /*shared_bytes*/,
                                     struct CUstream_st* /*stream*/) {
  grids.push_back(grid);
  return 1;
}

cudaError_t cudaFuncSetAttribute(const void* /*kernel*/, cudaFuncAttribute /*attribute*/,
                                 int /*value*/) {
  return cudaSuccess;
}

cudaError_t cudaGetLastError() { return cudaSuccess; }

}  // extern "C"

namespace retnet::cuda {

std::vector<dim3> RecordedGrids(const std::function<cudaError_t()>& queue) {
  grids.clear();
  EXPECT_EQ(queue(), cudaSuccess);
  return std::exchange(grids, {});
}

}  // namespace retnet::cuda
