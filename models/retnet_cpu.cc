#include "models/retnet_cpu.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "kernels/cpu/cpu_kernels.h"
#include "kernels/status_macros.h"
#include "models/device_weights.h"
#include "models/free_memory.h"
#include "models/retnet.h"

namespace retnet {
namespace {

constexpr int64_t kMostSlots = 1024;  // when nobody says how many

// As many as asked for, or as fit in the share of the free memory that states may take.
absl::StatusOr<int32_t> CountSlots(int64_t slot_bytes, int64_t free_bytes,
                                   const ModelOptions& options) {
  if (options.slots > 0) {
    if (options.slots <= free_bytes / slot_bytes) return options.slots;
    return absl::ResourceExhaustedError(
        absl::StrCat(options.slots, " slots of ", slot_bytes, " bytes do not fit in the ",
                     free_bytes, " bytes of free memory; ", free_bytes / slot_bytes, " would"));
  }
  const double budget = free_bytes * options.state_memory_fraction;
  const auto slots = static_cast<int64_t>(budget / slot_bytes);
  if (slots > 0) return static_cast<int32_t>(std::min(slots, kMostSlots));
  return absl::ResourceExhaustedError(
      absl::StrCat("one slot of ", slot_bytes, " bytes does not fit in ",
                   options.state_memory_fraction, " of the ", free_bytes, " bytes of free memory"));
}

}  // namespace

absl::StatusOr<std::unique_ptr<Model>> MakeCpuModel(const RetNetConfig& config,
                                                    const ModelWeights& weights,
                                                    const ModelOptions& options, ModelInfo info) {
  CpuOptions cpu{.threads = options.threads, .max_rows = options.max_rows};
  if (!options.instruction_set.empty()) {
    ASSIGN_OR_RETURN(cpu.instruction_set, ParseInstructionSet(options.instruction_set));
  }
  if (const int64_t free = FreeMemory(); weights.stored_bytes > free) {
    return absl::ResourceExhaustedError(
        absl::StrCat("the weights take ", weights.stored_bytes, " bytes, ", free, " are free"));
  }
  auto kernels = std::make_unique<CpuKernels>(cpu);
  ASSIGN_OR_RETURN(auto packed, DeviceWeights<CpuKernels>::Pack(*kernels, weights));
  const RetentionShape shape = config.Retention(/*slots=*/1);
  const int64_t slot_bytes = kernels->BaseBytes(shape) + kChunk * kernels->TailTokenBytes(shape);
  ASSIGN_OR_RETURN(info.slots, CountSlots(slot_bytes, FreeMemory(), options));
  info.max_rows = options.max_rows;
  info.backend = absl::StrCat("cpu (", Name(kernels->instruction_set()), ", ", kernels->threads(),
                              kernels->threads() == 1 ? " thread)" : " threads)");
  return RetNet<CpuKernels>::Create(std::move(kernels), config, std::move(packed), std::move(info));
}

}  // namespace retnet
