// Interface between translated PTX modules and the simulator runtime.
//
// A translated kernel is a C++ function that receives the Thread it executes as. Everything a
// kernel needs from the runtime (barriers, warp collectives, memory checks, faults) is declared
// here.
#ifndef RETNET_TESTS_CUDASIM_SRC_RUNTIME_SIM_H_
#define RETNET_TESTS_CUDASIM_SRC_RUNTIME_SIM_H_

#include <cstddef>
#include <cstdint>

namespace cudasim {

// Address map. Device pointers seen by the program are addresses inside a reserved, inaccessible
// range ("arena"). Their storage lies kArenaOffset higher, so host code that dereferences a device
// pointer traps.
constexpr uint64_t kArenaBase = 0x110000000000ull;
constexpr uint64_t kArenaSize = 1ull << 44;
constexpr uint64_t kArenaOffset = 0x200000000000ull;
// Generic addresses of shared memory: kSharedWindow + offset. Never mapped.
constexpr uint64_t kSharedWindow = 0x0f0000000000ull;
constexpr uint64_t kSharedWindowSize = 1u << 24;

struct Dim3 {
  uint32_t x, y, z;
};

struct KernelInfo;
struct ModuleInfo;

// What all threads of one block share.
struct BlockView {
  Dim3 ctaid, ntid, nctaid;
  uint32_t shared_size;     // static + dynamic
  uint32_t dynamic_offset;  // where extern __shared__ begins
  uint32_t dynamic_size;
  uint32_t num_warps;
  uint64_t grid_id;
  uint32_t sm_id;
  const ModuleInfo* module;
  const KernelInfo* kernel;
};

struct Thread {
  volatile uint32_t site;  // index into ModuleInfo::sites of the instruction being executed
  uint32_t lane, warp, linear;
  uint32_t spins;
  Dim3 tid;
  uint64_t arena_limit;   // kArenaSize, or 0 when every access must take the instrumented path
  uint32_t shared_limit;  // shared_size, or 0 likewise
  uint8_t* shared;
  const uint8_t* params;
  const BlockView* block;
  uint64_t stack_lo, stack_hi;  // this thread's local memory
};

enum Access : int { kRead = 0, kWrite = 1, kAtomic = 2, kVolatile = 4 };

// Services.
[[noreturn]] void fault(Thread*, const char* format, ...) __attribute__((format(printf, 2, 3)));
[[noreturn]] void unsupported(Thread*, const char* instruction);

uint8_t* access_slow(Thread*, uint64_t address, unsigned size, unsigned align, int mode);
uint8_t* access_shared_slow(Thread*, uint64_t offset, unsigned size, unsigned align, int mode);

// Runs fn once when all non-exited lanes of mask have arrived; args[lane] is each lane's argument.
using WarpFn = void (*)(void* const* args, uint32_t mask);
void collective(Thread*, uint32_t mask, const char* kind, bool aligned, void* arg, WarpFn fn);
uint32_t active_mask(Thread*);
uint32_t shuffle_outside_mask(Thread*, int source,
                              uint32_t mask);  // undefined value: poison, or a fault when strict

enum BarrierReduce : int { kNone = -1, kPopc = 0, kAnd = 1, kOr = 2 };
int barrier(Thread*, uint32_t id, uint32_t count, int reduce, int predicate);
void barrier_arrive(Thread*, uint32_t id, uint32_t count);
void yield(Thread*);

void cp_async(Thread*, uint64_t shared_offset, uint64_t global_address, unsigned size,
              unsigned source_size);
void cp_async_commit(Thread*);
void cp_async_wait(Thread*, uint32_t groups_left);

int device_printf(Thread*, uint64_t format, uint64_t args);
[[noreturn]] void device_assert(Thread*, uint64_t message, uint64_t file, uint32_t line,
                                uint64_t function);
uint64_t device_clock();

// Module description (exported by each translated module as `cudasim_module`).
struct Site {
  uint32_t ptx_line;
  uint16_t file, inlined_file;
  uint32_t line, inlined_line;
};
struct KernelInfo {
  const char* name;
  void (*entry)(Thread*);
  uint32_t static_shared, dynamic_align_offset;  // bytes of static shared; offset of dynamic shared
  uint32_t param_bytes, param_count;
  const uint32_t* param_offsets;
  const uint32_t* param_sizes;
  uint32_t max_threads;  // .maxntid / .reqntid product, 0 if none
};
struct GlobalInfo {
  const char* name;
  uint64_t size;
  uint32_t align;
  bool constant;
  const uint8_t* init;
  uint64_t init_size;
};
struct RelocInfo {  // bytes [shift/8 ...) of (address of target + addend) stored at global+offset
  uint32_t global;
  uint64_t offset;
  int32_t target;  // index of a global, or -1 when function is set
  void* function;
  int64_t addend;
  uint32_t bytes, shift;
};
struct ModuleInfo {
  uint32_t abi;
  const char* ptx_path;
  const KernelInfo* kernels;
  uint32_t kernel_count;
  const GlobalInfo* globals;
  uint32_t global_count;
  uint64_t* global_addresses;
  const RelocInfo* relocs;
  uint32_t reloc_count;
  const Site* sites;
  uint32_t site_count;
  const char* const* files;
  uint32_t file_count;
};
constexpr uint32_t kModuleAbi = 1;

}  // namespace cudasim

#endif  // RETNET_TESTS_CUDASIM_SRC_RUNTIME_SIM_H_
