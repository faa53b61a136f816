// The stream that kernels of a step are queued on, and whether they may overlap.
#ifndef RETNET_KERNELS_CUDA_RUNTIME_KERNEL_QUEUE_H_
#define RETNET_KERNELS_CUDA_RUNTIME_KERNEL_QUEUE_H_

#include <cuda_runtime.h>

namespace retnet::cuda {

struct KernelQueue {
  KernelQueue(cudaStream_t stream, bool overlaps = false)  // implicit: a stream is a queue
      : stream(stream), overlaps(overlaps) {}

  cudaStream_t stream;
  // Whether kernels of decode steps may begin before kernels queued earlier have ended
  // (launch.cuh). Allowed only if the device and the kernels' code can wait for earlier kernels:
  // SkinnyPtxVersion.
  bool overlaps;
};

}  // namespace retnet::cuda

#endif  // RETNET_KERNELS_CUDA_RUNTIME_KERNEL_QUEUE_H_
