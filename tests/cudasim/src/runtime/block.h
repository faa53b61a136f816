// Execution of thread blocks.
#ifndef RETNET_TESTS_CUDASIM_SRC_RUNTIME_BLOCK_H_
#define RETNET_TESTS_CUDASIM_SRC_RUNTIME_BLOCK_H_

#include <cstdint>

#include "runtime/sim.h"

namespace cudasim {

struct LaunchRequest {
  const ModuleInfo* module;
  const KernelInfo* kernel;
  Dim3 grid, block;
  uint32_t dynamic_shared;
  const uint8_t* params;
};

void run_grid(const LaunchRequest&);  // returns when all blocks have finished; faults do not return
Thread* current_thread();             // the simulated thread running on this OS thread, or nullptr

}  // namespace cudasim

#endif  // RETNET_TESTS_CUDASIM_SRC_RUNTIME_BLOCK_H_
