// Steps recorded once as CUDA graphs, so that one call launches them again.
#ifndef RETNET_KERNELS_CUDA_RUNTIME_STEP_GRAPHS_H_
#define RETNET_KERNELS_CUDA_RUNTIME_STEP_GRAPHS_H_

#include <cuda_runtime.h>

#include <cstdint>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "kernels/cuda/runtime/cuda_handles.h"

namespace retnet::cuda {

// Which of the recorded steps.
struct StepKind {
  int32_t rows = 0;
  bool shares_bases = false;  // see RetentionExtent

  bool operator==(const StepKind&) const = default;
};

// Thread-compatible.
class StepGraphs {
 public:
  // Keeps what `operators` launches into `stream` as the step of a kind, in place of the one
  // before; nothing runs. They must not wait.
  absl::Status Record(StepKind kind, absl::FunctionRef<void()> operators, cudaStream_t stream);
  bool Has(StepKind kind) const { return Find(kind) != nullptr; }
  // Only of a step that there is.
  cudaError_t Launch(StepKind kind, cudaStream_t stream) const;

 private:
  struct Entry {
    StepKind kind;
    ExecutableGraph graph;
  };

  const Entry* Find(StepKind kind) const;

  std::vector<Entry> entries_;  // few: rows are powers of 2
};

}  // namespace retnet::cuda

#endif  // RETNET_KERNELS_CUDA_RUNTIME_STEP_GRAPHS_H_
