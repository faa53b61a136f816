// Checks that the memory of a server suffices before it is allocated. This is needed because under
// the limit of a control group no allocation fails: the system kills the process without a message.
#ifndef RETNET_MODELS_MEMORY_PLAN_H_
#define RETNET_MODELS_MEMORY_PLAN_H_

#include <cstdint>

#include "absl/status/statusor.h"
#include "models/free_memory.h"
#include "models/load.h"

namespace retnet {

// The memory that a server needs, in bytes.
struct MemoryNeed {
  int64_t weights = 0;  // weights that are not in memory yet
  int64_t step = 0;     // buffers of a step of options.max_rows rows
  int64_t serving = 0;  // everything outside the model: libraries, threads, calls
  int64_t slot = 0;     // base and tail of one slot
};

// The value of `need.serving` for a server with this number of kernel threads.
int64_t ServingBytes(int32_t threads);

// The number of slots: options.slots, or if that is 0, as many as fit, at most 1024. In the latter
// case slots may take options.state_memory_fraction of the free memory that the other parts of the
// need leave. RESOURCE_EXHAUSTED if the need, with at least one slot, does not fit. The error names
// every part of the need and the limit.
absl::StatusOr<int32_t> PlanSlots(const MemoryNeed& need, const FreeMemory& free,
                                  const ModelOptions& options);

}  // namespace retnet

#endif  // RETNET_MODELS_MEMORY_PLAN_H_
