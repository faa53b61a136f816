// Converts CUDA errors to absl::Status.
#ifndef RETNET_KERNELS_CUDA_RUNTIME_CUDA_STATUS_H_
#define RETNET_KERNELS_CUDA_RUNTIME_CUDA_STATUS_H_

#include <cuda_runtime.h>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace retnet::cuda {

// RESOURCE_EXHAUSTED if memory ran out, UNAVAILABLE if there is no suitable device or driver,
// INTERNAL for other errors. `what` says what was tried; it begins the message.
absl::Status CudaStatus(cudaError_t error, absl::string_view what);

}  // namespace retnet::cuda

#endif  // RETNET_KERNELS_CUDA_RUNTIME_CUDA_STATUS_H_
