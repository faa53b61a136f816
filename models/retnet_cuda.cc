#include "models/retnet_cuda.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "kernels/cuda/cuda_kernels.h"
#include "kernels/cuda/retention/states.h"
#include "kernels/status_macros.h"
#include "models/device_weights.h"
#include "models/memory_plan.h"
#include "models/retnet.h"

namespace retnet {
namespace {

// Slots take all GPU memory that the other parts leave: no other process should need it.
absl::StatusOr<int32_t> PlanDeviceSlots(const MemoryNeed& need, int64_t usable,
                                        const cuda::CudaKernels& kernels,
                                        const cuda::DeviceMemory& memory, ModelOptions options) {
  options.state_memory_fraction = 1;
  const FreeMemory free{
      std::max<int64_t>(usable, 0), memory.total,
      absl::StrCat(kernels.device_name(), " (of its free memory --gpu-memory-fraction ",
                   options.gpu_memory_fraction, ")")};
  return PlanSlots(need, free, options);
}

}  // namespace

absl::StatusOr<std::unique_ptr<Model>> MakeCudaModel(const RetNetConfig& config,
                                                     const ModelWeights& weights,
                                                     const ModelOptions& options, ModelInfo info) {
  ASSIGN_OR_RETURN(
      cuda::CudaKernels made,
      cuda::CudaKernels::Make(options.max_rows, options.cuda_graphs, options.programmatic_launch));
  auto kernels = std::make_unique<cuda::CudaKernels>(std::move(made));
  info.base_type = StateTypeOf(options);
  const RetentionShape shape = config.Retention(/*slots=*/1, info.base_type);
  MemoryNeed need{.weights = weights.stored_bytes,
                  .step = RetNet<cuda::CudaKernels>::StepBytes(config, options.max_rows) +
                          options.max_rows * cuda::CudaStates::RowBytes(shape),
                  .slot = cuda::CudaStates::SlotBytes(shape)};
  ASSIGN_OR_RETURN(const cuda::DeviceMemory before, cuda::CudaKernels::Memory());
  const auto usable = static_cast<int64_t>(before.free * options.gpu_memory_fraction);
  RETURN_IF_ERROR(PlanDeviceSlots(need, usable, *kernels, before, options).status());
  ASSIGN_OR_RETURN(auto packed, DeviceWeights<cuda::CudaKernels>::Pack(*kernels, weights));
  ASSIGN_OR_RETURN(const cuda::DeviceMemory after, cuda::CudaKernels::Memory());
  const int64_t left = usable - (before.free - after.free);
  need.weights = 0;  // they are packed now; `left` excludes them, their padding and matmul scratch
  ASSIGN_OR_RETURN(info.slots, PlanDeviceSlots(need, left, *kernels, before, options));
  info.max_rows = options.max_rows;
  constexpr int64_t kMebibyte = 1 << 20;
  info.backend = absl::StrCat(
      "cuda (", kernels->device_name(), "; of ", before.free / kMebibyte, " MiB free, ",
      (before.free - after.free) / kMebibyte, " MiB for weights, ", need.step / kMebibyte,
      " for steps, ", info.slots * need.slot / kMebibyte, " for sequences with ",
      options.state_type, " states", kernels->Overlaps() ? "; programmatic launches)" : ")");
  return RetNet<cuda::CudaKernels>::Create(std::move(kernels), config, std::move(packed),
                                           std::move(info));
}

}  // namespace retnet
