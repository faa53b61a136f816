// Records the launches that a host function queues, without a GPU. None of them runs.
#ifndef RETNET_TESTS_KERNELS_CUDA_RECORDED_LAUNCHES_H_
#define RETNET_TESTS_KERNELS_CUDA_RECORDED_LAUNCHES_H_

#include <cuda_runtime.h>

#include <functional>
#include <vector>

namespace retnet::cuda {

// The grids of the kernels that `queue` launches, in order. `queue` may also set attributes of
// kernels, but must not call anything else of the runtime. It must return cudaSuccess.
//
// The source file replaces the launch functions of the runtime. A test that is linked with it
// cannot run kernels.
std::vector<dim3> RecordedGrids(const std::function<cudaError_t()>& queue);

}  // namespace retnet::cuda

#endif  // RETNET_TESTS_KERNELS_CUDA_RECORDED_LAUNCHES_H_
