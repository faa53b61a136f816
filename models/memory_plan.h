// What a server's memory must hold, against what there is: decided before it is taken, since where
// a control group's limit binds, nothing fails but the process, killed without a word.
#ifndef RETNET_MODELS_MEMORY_PLAN_H_
#define RETNET_MODELS_MEMORY_PLAN_H_

#include <cstdint>

#include "absl/status/statusor.h"
#include "models/free_memory.h"
#include "models/load.h"

namespace retnet {

// In bytes.
struct MemoryNeed {
  int64_t weights = 0;  // that are not in memory yet
  int64_t step = 0;     // what a step of options.max_rows computes in
  int64_t serving = 0;  // what is no model's: libraries, threads, calls
  int64_t slot = 0;     // one sequence's base and tail
};

// What `need.serving` has to be for a server of so many kernel threads.
int64_t ServingBytes(int32_t threads);

// How many slots: options.slots, or as many as fit in options.state_memory_fraction of what the
// rest of the need leaves free, at most 1024. RESOURCE_EXHAUSTED, naming every part of the need and
// the limit, when the need does not fit, one slot at the least.
absl::StatusOr<int32_t> PlanSlots(const MemoryNeed& need, const FreeMemory& free,
                                  const ModelOptions& options);

}  // namespace retnet

#endif  // RETNET_MODELS_MEMORY_PLAN_H_
