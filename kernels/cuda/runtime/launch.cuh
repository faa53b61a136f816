// How kernels of decode steps are launched, so that one can begin while those before it run:
// programmatic dependent launch, of compute capability 9.0 on.
//
// Every thread of such a kernel calls AwaitEarlierKernels before its block returns, reads what any
// kernel or copy writes, or writes anything that is not its own. So what runs early reads weights
// at most, and no kernel ends before all that were queued before it have: what a kernel finds
// behind the call is what it finds where kernels do not overlap. LetNextKernelBegin promises
// nothing but that the device has room to spare once every block of this kernel has called it.
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

// Queues a kernel that keeps the rule above. Returns the launch's error.
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
