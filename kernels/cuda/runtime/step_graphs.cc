#include "kernels/cuda/runtime/step_graphs.h"

#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "kernels/cuda/runtime/cuda_status.h"
#include "kernels/status_macros.h"

namespace retnet::cuda {

// The capture is in relaxed mode, because the runtime may load a kernel at its first launch.
absl::Status StepGraphs::Record(StepKind kind, absl::FunctionRef<void()> operators,
                                cudaStream_t stream) {
  RETURN_IF_ERROR(
      CudaStatus(cudaStreamBeginCapture(stream, cudaStreamCaptureModeRelaxed), "recording a step"));
  operators();
  cudaGraph_t recorded = nullptr;
  const cudaError_t error = cudaStreamEndCapture(stream, &recorded);
  const Graph graph(recorded);
  const std::string what = absl::StrCat("recording a step of ", kind.rows, " rows");
  RETURN_IF_ERROR(CudaStatus(error, what));
  cudaGraphExec_t executable = nullptr;
  RETURN_IF_ERROR(CudaStatus(cudaGraphInstantiate(&executable, recorded, 0), what));
  Entry entry{.kind = kind, .graph = ExecutableGraph(executable)};
  RETURN_IF_ERROR(CudaStatus(cudaGraphUpload(executable, stream), what));
  std::erase_if(entries_, [kind](const Entry& entry) { return entry.kind == kind; });
  entries_.push_back(std::move(entry));
  return absl::OkStatus();
}

cudaError_t StepGraphs::Launch(StepKind kind, cudaStream_t stream) const {
  return cudaGraphLaunch(Find(kind)->graph.get(), stream);
}

const StepGraphs::Entry* StepGraphs::Find(StepKind kind) const {
  for (const Entry& entry : entries_) {
    if (entry.kind == kind) return &entry;
  }
  return nullptr;
}

}  // namespace retnet::cuda
