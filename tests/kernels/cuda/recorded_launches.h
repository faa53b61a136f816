// The launches that a host function queues, seen without a GPU: none of them runs.
#ifndef RETNET_TESTS_KERNELS_CUDA_RECORDED_LAUNCHES_H_
#define RETNET_TESTS_KERNELS_CUDA_RECORDED_LAUNCHES_H_

#include <cuda_runtime.h>

#include <functional>
#include <vector>

namespace retnet::cuda {

// The grids of the kernels that `queue` launches, in their order. It may set attributes of kernels
// beside and call nothing else of the runtime. Its result must be cudaSuccess.
//
// The source file stands in front of the runtime's functions that launch. A test that is linked with
// it can run no kernel.
std::vector<dim3> RecordedGrids(const std::function<cudaError_t()>& queue);

}  // namespace retnet::cuda

#endif  // RETNET_TESTS_KERNELS_CUDA_RECORDED_LAUNCHES_H_
