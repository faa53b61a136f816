// How much memory this process may still take.
#ifndef RETNET_MODELS_FREE_MEMORY_H_
#define RETNET_MODELS_FREE_MEMORY_H_

#include <cstdint>
#include <string>

namespace retnet {

// Bytes: what the system has available, or what the limits of the process's control groups leave of
// it. Pages of files count as free, since they can be dropped. `root` stands before /proc and /sys,
// for tests.
int64_t FreeMemory(const std::string& root = "");

}  // namespace retnet

#endif  // RETNET_MODELS_FREE_MEMORY_H_
