// Simulated device memory: allocations, host ranges the device may touch, and access checks.
#ifndef RETNET_TESTS_CUDASIM_SRC_RUNTIME_MEMORY_H_
#define RETNET_TESTS_CUDASIM_SRC_RUNTIME_MEMORY_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "runtime/sim.h"

namespace cudasim {

struct Allocation {
  uint64_t address, size, mapped_begin, mapped_size;
  uint64_t id;
  bool freed;
};

uint64_t device_alloc(uint64_t size, uint64_t align = 256, bool counts = true);  // 0: out of memory
bool device_free(uint64_t address);  // false: not a live allocation
uint64_t device_memory_used();
bool find_allocation(uint64_t address, Allocation* out);  // live or recently freed
bool is_device_address(const void* p);

void add_host_range(const void* p, size_t size, int kind);  // kind: see HostKind
bool remove_host_range(const void* p);
enum HostKind { kHostNone = 0, kHostPinned = 1, kHostManaged = 2 };
int host_range_kind(const void* p, size_t size);

// Storage behind [p, p+size) for use by copies and library routines. Returns nullptr and fills why
// on error.
void* resolve(const void* p, size_t size, std::string* why);

std::string describe_address(uint64_t address);
bool in_arena(uint64_t address);
bool in_storage(uint64_t address);

// Live allocations sorted by address, for the checked access path.
void refresh_allocation_snapshot();

}  // namespace cudasim

#endif  // RETNET_TESTS_CUDASIM_SRC_RUNTIME_MEMORY_H_
