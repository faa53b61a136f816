// Launches of decode-step kernels. By programmatic dependent launch (compute capability 9.0 or
// newer), a kernel may begin while earlier kernels are still running.
//
// The rule: every thread of such a kernel must call AwaitEarlierKernels before its block returns,
// before it reads what any kernel or copy writes, and before it writes global memory. So before the
// call it reads at most weights. It also follows that no kernel ends before all kernels queued
// earlier have ended. So after the call, a kernel sees exactly the memory that it would see if
// kernels did not overlap. LetNextKernelBegin makes no promise about memory: once every block of
// the kernel has called it, the device may use spare room to start the next kernel.
#ifndef RETNET_KERNELS_CUDA_RUNTIME_LAUNCH_CUH_
#define RETNET_KERNELS_CUDA_RUNTIME_LAUNCH_CUH_

#include <cuda_runtime.h>

#include <cstddef>
#include <type_traits>

#include "kernels/cuda/runtime/kernel_queue.h"

namespace retnet::cuda {

__device__ inline void LetNextKernelBegin() {
#if __CUDA_ARCH__ >= 900
  cudaTriggerProgrammaticLaunchCompletion();
#endif
}

__device__ inline void AwaitEarlierKernels() {
#if __CUDA_ARCH__ >= 900
  cudaGridDependencySynchronize();
#endif
}

struct LaunchShape {
  dim3 grid;
  dim3 block;
  size_t shared_bytes = 0;
};

// Queues a kernel, which must keep the rule above. Returns the error of the launch.
template <typename... Parameters>
cudaError_t LaunchKernel(void (*kernel)(Parameters...), const LaunchShape& shape, KernelQueue queue,
                         const std::type_identity_t<Parameters>&... arguments) {
  cudaLaunchAttribute overlap;
  overlap.id = cudaLaunchAttributeProgrammaticStreamSerialization;
  overlap.val.programmaticStreamSerializationAllowed = 1;
  cudaLaunchConfig_t config = {};
  config.gridDim = shape.grid;
  config.blockDim = shape.block;
  config.dynamicSmemBytes = shape.shared_bytes;
  config.stream = queue.stream;
  config.attrs = &overlap;
  config.numAttrs = queue.overlaps ? 1 : 0;
  return cudaLaunchKernelEx(&config, kernel, arguments...);
}

}  // namespace retnet::cuda

#endif  // RETNET_KERNELS_CUDA_RUNTIME_LAUNCH_CUH_
