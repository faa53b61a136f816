// Race detection (--race) and per-byte state of shared memory (--check).
#ifndef RETNET_TESTS_CUDASIM_SRC_RUNTIME_RACE_H_
#define RETNET_TESTS_CUDASIM_SRC_RUNTIME_RACE_H_

#include <cstdint>

#include "runtime/sim.h"

namespace cudasim {

uint8_t* shared_valid_map(Thread*);  // one byte per shared byte: written since the block began

void race_launch_begin();
void race_launch_end();
void race_block_begin(uint32_t block_linear, uint32_t threads);
void race_block_barrier();                          // orders all threads of the block
void race_warp_sync(uint32_t warp, uint32_t mask);  // orders the lanes of mask
void race_access(Thread*, uint64_t address, unsigned size, int mode);
unsigned race_reports();

}  // namespace cudasim

#endif  // RETNET_TESTS_CUDASIM_SRC_RUNTIME_RACE_H_
