// CUDA's errors as absl::Status.
#ifndef RETNET_KERNELS_CUDA_RUNTIME_CUDA_STATUS_H_
#define RETNET_KERNELS_CUDA_RUNTIME_CUDA_STATUS_H_

#include <cuda_runtime.h>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace retnet::cuda {

// RESOURCE_EXHAUSTED for want of memory, UNAVAILABLE where there is no device or driver that
// serves, INTERNAL for the rest; the message says what was tried.
absl::Status CudaStatus(cudaError_t error, absl::string_view what);

}  // namespace retnet::cuda

#endif  // RETNET_KERNELS_CUDA_RUNTIME_CUDA_STATUS_H_
