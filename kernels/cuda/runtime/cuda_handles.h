// Owning handles of streams, events and graphs of the CUDA runtime.
#ifndef RETNET_KERNELS_CUDA_RUNTIME_CUDA_HANDLES_H_
#define RETNET_KERNELS_CUDA_RUNTIME_CUDA_HANDLES_H_

#include <cuda_runtime.h>

#include <memory>
#include <type_traits>

#include "absl/status/statusor.h"
#include "kernels/cuda/runtime/cuda_status.h"
#include "kernels/status_macros.h"

namespace retnet::cuda {

struct DestroyCudaHandle {
  void operator()(cudaStream_t stream) const { cudaStreamDestroy(stream); }
  void operator()(cudaEvent_t event) const { cudaEventDestroy(event); }
  void operator()(cudaGraph_t graph) const { cudaGraphDestroy(graph); }
  void operator()(cudaGraphExec_t graph) const { cudaGraphExecDestroy(graph); }
};

template <typename Handle>
using CudaHandle = std::unique_ptr<std::remove_pointer_t<Handle>, DestroyCudaHandle>;

using Stream = CudaHandle<cudaStream_t>;
using Event = CudaHandle<cudaEvent_t>;
using Graph = CudaHandle<cudaGraph_t>;
using ExecutableGraph = CudaHandle<cudaGraphExec_t>;

// Makes a stream that does not synchronise with the default stream.
inline absl::StatusOr<Stream> MakeStream() {
  cudaStream_t stream = nullptr;
  RETURN_IF_ERROR(CudaStatus(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking),
                             "making a stream on the CUDA device"));
  return Stream(stream);
}

// Makes an event without timing: it can only be waited for.
inline absl::StatusOr<Event> MakeEvent() {
  cudaEvent_t event = nullptr;
  RETURN_IF_ERROR(CudaStatus(cudaEventCreateWithFlags(&event, cudaEventDisableTiming),
                             "making an event of the CUDA device"));
  return Event(event);
}

}  // namespace retnet::cuda

#endif  // RETNET_KERNELS_CUDA_RUNTIME_CUDA_HANDLES_H_
