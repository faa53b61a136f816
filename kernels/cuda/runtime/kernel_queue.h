// Where the kernels of a step are queued, and whether they overlap.
#ifndef RETNET_KERNELS_CUDA_RUNTIME_KERNEL_QUEUE_H_
#define RETNET_KERNELS_CUDA_RUNTIME_KERNEL_QUEUE_H_

#include <cuda_runtime.h>

namespace retnet::cuda {

struct KernelQueue {
  KernelQueue(cudaStream_t stream, bool overlaps = false)  // implicit: a stream is a queue
      : stream(stream), overlaps(overlaps) {}

  cudaStream_t stream;
  // Kernels of decode steps may begin before those queued before them have ended (launch.cuh). Only
  // where the device and the kernels' code can wait: SkinnyPtxVersion.
  bool overlaps;
};

}  // namespace retnet::cuda

#endif  // RETNET_KERNELS_CUDA_RUNTIME_KERNEL_QUEUE_H_
