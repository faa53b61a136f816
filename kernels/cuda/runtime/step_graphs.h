// Steps recorded as CUDA graphs. One call launches a recorded step again.
#ifndef RETNET_KERNELS_CUDA_RUNTIME_STEP_GRAPHS_H_
#define RETNET_KERNELS_CUDA_RUNTIME_STEP_GRAPHS_H_

#include <cuda_runtime.h>

#include <cstdint>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "kernels/cuda/runtime/cuda_handles.h"

namespace retnet::cuda {

// Identifies a recorded step.
struct StepKind {
  int32_t rows = 0;
  bool shares_bases = false;  // see RetentionExtent

  bool operator==(const StepKind&) const = default;
};

// Thread-compatible.
class StepGraphs {
 public:
  // Records what `operators` launches into `stream` as the step of this kind. Replaces an earlier
  // recording. Nothing runs. `operators` must not wait for the stream.
  absl::Status Record(StepKind kind, absl::FunctionRef<void()> operators, cudaStream_t stream);
  bool Has(StepKind kind) const { return Find(kind) != nullptr; }
  // Has(kind) must be true.
  cudaError_t Launch(StepKind kind, cudaStream_t stream) const;

 private:
  struct Entry {
    StepKind kind;
    ExecutableGraph graph;
  };

  const Entry* Find(StepKind kind) const;

  std::vector<Entry> entries_;  // few, as recorded numbers of rows are powers of 2
};

}  // namespace retnet::cuda

#endif  // RETNET_KERNELS_CUDA_RUNTIME_STEP_GRAPHS_H_
