// The threads of a running block: fibers, the warps and barriers that they wait in, and the choice
// of the fiber that runs next. For the runtime's own sources; translated kernels see sim.h alone.
//
// An OS thread has one Worker and runs one block at a time in it, so nothing here needs a lock.
#ifndef RETNET_TESTS_CUDASIM_SRC_RUNTIME_FIBER_H_
#define RETNET_TESTS_CUDASIM_SRC_RUNTIME_FIBER_H_

#include <boost/context/detail/fcontext.hpp>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <random>
#include <vector>

#include "runtime/sim.h"

// Calls between these sources do not go through the library's table of symbols.
#pragma GCC visibility push(hidden)

namespace cudasim {

constexpr uint32_t kBarriers = 16;

struct Context {
  boost::context::detail::fcontext_t ctx = nullptr;
};

struct Copy {  // one cp.async
  uint64_t shared, global;
  unsigned size, source;
  uint32_t site;
};

enum class State : uint8_t { kRunning, kBarrier, kCollective, kActiveMask, kDone };

struct Worker;

struct Fiber : Context, Thread {
  Worker* worker;
  char* stack_base;
  State state;
  uint8_t position;  // place of this lane in its warp's schedule
  const char* waiting_for;
  uint32_t waiting_id, waiting_mask;
  int predicate, reduced;
  uint32_t mask_result;
  std::vector<Copy> copies;      // issued, not yet performed, in order
  std::vector<uint32_t> groups;  // sizes of committed groups
  uint32_t open = 0;             // copies since the last commit
};

struct Slot {  // a warp collective that some lanes are waiting in
  uint32_t mask, arrived;
  const char* kind;
  uint32_t site;
  bool aligned;
  WarpFn fn;
  void* args[32];
};

struct Warp {
  uint32_t valid, exited;
  uint32_t runnable;  // by schedule position
  uint32_t parked;    // by lane: waiting in activemask
  uint32_t used_slots;
  uint8_t lane_at[32];  // schedule position -> lane
  Slot slots[32];
};

struct Barrier {
  uint32_t waiting = 0, arrived = 0, expected = 0, site = 0;
  int reduce = kNone;
};

struct Worker {
  Context main;
  BlockView view{};
  std::vector<Fiber> fibers;
  std::vector<Warp> warps;
  std::vector<uint32_t> warp_order, warp_index;  // schedule order and its inverse
  Barrier barriers[kBarriers];
  Fiber* current = nullptr;
  uint32_t threads = 0, live = 0;
  char* stacks = nullptr;
  size_t stack_bytes = 0;
  uint8_t* shared = nullptr;
  std::vector<uint8_t> shared_valid;
  uint64_t idle_yields = 0;
  std::chrono::steady_clock::time_point idle_since;
  std::mt19937 random;
};

inline Fiber* self(Thread* t) { return static_cast<Fiber*>(t); }

// Scheduling, in fiber.cc. Warps and lanes are tried in the order that order_threads drew.
void make_runnable(Worker& w, Warp& warp, uint32_t lanes);
// The next runnable lane of a warp behind schedule position `after`, cyclically; nullptr: none.
Fiber* pick_in_warp(Worker& w, uint32_t index, uint32_t after);
// Runs the next fiber, or the OS thread's own stack when there is none. Returns when `from` is
// chosen again.
void switch_from(Worker& w, Fiber* from, bool prefer_other_warp = false);
// Switches away until somebody makes the fiber runnable.
void wait_now(Worker& w, Fiber* f, State why);

// The fiber's kernel has returned: collectives and barriers of the others no longer wait for it. In
// synchronisation.cc.
void on_exit(Worker& w, Fiber* f);

}  // namespace cudasim

#pragma GCC visibility pop

#endif  // RETNET_TESTS_CUDASIM_SRC_RUNTIME_FIBER_H_
