#include "models/retnet_cpu.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "kernels/cpu/cpu_kernels.h"
#include "kernels/status_macros.h"
#include "models/device_weights.h"
#include "models/free_memory.h"
#include "models/memory_plan.h"
#include "models/retnet.h"

namespace retnet {
namespace {

MemoryNeed NeedOf(const cpu::CpuKernels& kernels, const RetNetConfig& config,
                  const ModelWeights& weights, const ModelOptions& options) {
  const RetentionShape shape = config.Retention(/*slots=*/1);
  const int64_t inputs =
      std::max<int64_t>({config.hidden_size, shape.OutputColumns(), config.intermediate_size});
  const int64_t outputs = std::max<int64_t>(
      {config.vocab_size, shape.ProjectionColumns(), 2 * int64_t{config.intermediate_size}});
  return {.weights = weights.stored_bytes,
          .step = RetNet<cpu::CpuKernels>::StepBytes(config, options.max_rows) +
                  kernels.WorkspaceBytes(inputs, outputs),
          .serving = ServingBytes(kernels.threads()),
          .slot = kernels.BaseBytes(shape) + kChunk * kernels.TailTokenBytes(shape)};
}

}  // namespace

absl::Status CheckCpuOptions(const ModelOptions& options, const std::string& device_note) {
  if (StateTypeOf(options) != ElementType::kFloat32) {
    return absl::InvalidArgumentError(
        absl::StrCat("--state-type is ", options.state_type,
                     ", but the CPU keeps states as fp32 only; bf16 and fp16 need a GPU",
                     device_note.empty() ? "" : ": ", device_note));
  }
  if (options.instruction_set.empty()) return absl::OkStatus();
  return cpu::ParseInstructionSet(options.instruction_set).status();
}

absl::StatusOr<std::unique_ptr<Model>> MakeCpuModel(const RetNetConfig& config,
                                                    const ModelWeights& weights,
                                                    const ModelOptions& options, ModelInfo info) {
  RETURN_IF_ERROR(CheckCpuOptions(options, info.device_note));
  cpu::CpuOptions cpu{.threads = options.threads, .max_rows = options.max_rows};
  if (!options.instruction_set.empty()) {
    ASSIGN_OR_RETURN(cpu.instruction_set, cpu::ParseInstructionSet(options.instruction_set));
  }
  auto kernels = std::make_unique<cpu::CpuKernels>(cpu);
  MemoryNeed need = NeedOf(*kernels, config, weights, options);
  RETURN_IF_ERROR(PlanSlots(need, ReadFreeMemory(), options).status());
  ASSIGN_OR_RETURN(auto packed, DeviceWeights<cpu::CpuKernels>::Pack(*kernels, weights));
  need.weights = 0;  // they are packed now, and ReadFreeMemory no longer counts their memory
  ASSIGN_OR_RETURN(info.slots, PlanSlots(need, ReadFreeMemory(), options));
  info.max_rows = options.max_rows;
  info.states_in_host_memory = true;
  info.backend = absl::StrCat("cpu (", Name(kernels->instruction_set()), ", ", kernels->threads(),
                              kernels->threads() == 1 ? " thread)" : " threads)");
  return RetNet<cpu::CpuKernels>::Create(std::move(kernels), config, std::move(packed),
                                         std::move(info));
}

}  // namespace retnet
