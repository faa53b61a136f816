// The memory that this process can still allocate.
#ifndef RETNET_MODELS_FREE_MEMORY_H_
#define RETNET_MODELS_FREE_MEMORY_H_

#include <cstdint>
#include <string>

namespace retnet {

struct FreeMemory {
  int64_t bytes = 0;
  // The limit that determines `bytes`: the memory of the machine or the limit of a control group,
  // in bytes, and the file that states it.
  int64_t limit = 0;
  std::string limit_file = "/proc/meminfo";
};

// The available memory of the system, or less if a limit of the process's control groups leaves
// less. Cached pages of files count as free, because the kernel can drop them. `root` is prepended
// to /proc and /sys, for tests.
FreeMemory ReadFreeMemory(const std::string& root = "");

}  // namespace retnet

#endif  // RETNET_MODELS_FREE_MEMORY_H_
