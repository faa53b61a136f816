#include "kernels/cuda/runtime/step_graphs.h"

#include <cstddef>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "kernels/cuda/runtime/cuda_status.h"
#include "kernels/status_macros.h"

namespace retnet::cuda {
namespace {

absl::StatusOr<int64_t> CountKernels(cudaGraph_t graph) {
  size_t count = 0;
  RETURN_IF_ERROR(CudaStatus(cudaGraphGetNodes(graph, nullptr, &count), "reading a CUDA graph"));
  std::vector<cudaGraphNode_t> nodes(count);
  RETURN_IF_ERROR(
      CudaStatus(cudaGraphGetNodes(graph, nodes.data(), &count), "reading a CUDA graph"));
  int64_t kernels = 0;
  for (const cudaGraphNode_t node : nodes) {
    cudaGraphNodeType type;
    RETURN_IF_ERROR(CudaStatus(cudaGraphNodeGetType(node, &type), "reading a CUDA graph"));
    kernels += type == cudaGraphNodeTypeKernel ? 1 : 0;
  }
  return kernels;
}

}  // namespace

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
  Entry entry{.kind = kind, .launches = 0, .graph = nullptr};
  ASSIGN_OR_RETURN(entry.launches, CountKernels(recorded));
  cudaGraphExec_t executable = nullptr;
  RETURN_IF_ERROR(CudaStatus(cudaGraphInstantiate(&executable, recorded, 0), what));
  entry.graph.reset(executable);
  RETURN_IF_ERROR(CudaStatus(cudaGraphUpload(executable, stream), what));
  std::erase_if(entries_, [kind](const Entry& entry) { return entry.kind == kind; });
  entries_.push_back(std::move(entry));
  return absl::OkStatus();
}

cudaError_t StepGraphs::Launch(StepKind kind, cudaStream_t stream) const {
  return cudaGraphLaunch(Find(kind)->graph.get(), stream);
}

int64_t StepGraphs::CountLaunches(StepKind kind) const {
  const Entry* entry = Find(kind);
  return entry == nullptr ? 0 : entry->launches;
}

const StepGraphs::Entry* StepGraphs::Find(StepKind kind) const {
  for (const Entry& entry : entries_) {
    if (entry.kind == kind) return &entry;
  }
  return nullptr;
}

}  // namespace retnet::cuda
