// How much memory this process may still take.
#ifndef RETNET_MODELS_FREE_MEMORY_H_
#define RETNET_MODELS_FREE_MEMORY_H_

#include <cstdint>
#include <string>

namespace retnet {

struct FreeMemory {
  int64_t bytes = 0;
  // What leaves no more than that: the machine's memory, or a control group's limit, in bytes and
  // by the file that says so.
  int64_t limit = 0;
  std::string limit_file = "/proc/meminfo";
};

// What the system has available, or what the limits of the process's control groups leave of it.
// Pages of files count as free, since they can be dropped. `root` stands before /proc and /sys, for
// tests.
FreeMemory ReadFreeMemory(const std::string& root = "");

}  // namespace retnet

#endif  // RETNET_MODELS_FREE_MEMORY_H_
