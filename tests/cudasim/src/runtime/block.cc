// One OS thread runs one block at a time. Each simulated thread is a fiber that runs until it has to wait
// (block barrier, warp collective) and then switches directly to the next runnable fiber.
#include "runtime/block.h"

#include <sys/mman.h>

#include <algorithm>
#include <atomic>
#include <boost/context/detail/fcontext.hpp>
#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <cstring>
#include <map>
#include <mutex>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "runtime/fault.h"
#include "runtime/memory.h"
#include "runtime/options.h"
#include "runtime/race.h"

namespace bc = boost::context::detail;

namespace cudasim {
namespace {

constexpr size_t kPage = 4096;
constexpr uint32_t kMaxThreads = 1024;
constexpr uint32_t kMaxShared = 256 * 1024;
constexpr uint32_t kBarriers = 16;
constexpr uint64_t kLivelockCheck = 1 << 22;  // yields between looks at the clock

struct Context {
  bc::fcontext_t ctx = nullptr;
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

thread_local Worker* tl_worker = nullptr;

Fiber* self(Thread* t) { return static_cast<Fiber*>(t); }

uint32_t positions(const Worker& w, const Warp& warp, uint32_t lanes) {
  if (options().order == 0) return lanes;
  const Fiber* first = &w.fibers[(&warp - w.warps.data()) * 32];
  uint32_t r = 0;
  for (; lanes; lanes &= lanes - 1) r |= 1u << first[__builtin_ctz(lanes)].position;
  return r;
}

void make_runnable(Worker& w, Warp& warp, uint32_t lanes) {
  const uint32_t base = (uint32_t)(&warp - w.warps.data()) * 32;
  for (uint32_t m = lanes; m; m &= m - 1) w.fibers[base + __builtin_ctz(m)].state = State::kRunning;
  warp.runnable |= positions(w, warp, lanes);
  w.idle_yields = 0;
}

// Choosing the next fiber.

// Lanes in activemask are released together once no other lane of the warp can run: those at the same
// instruction form the mask.
void release_parked(Worker& w, Warp& warp) {
  Fiber* base = &w.fibers[(&warp - w.warps.data()) * 32];
  const uint32_t site = base[__builtin_ctz(warp.parked)].site;
  uint32_t group = 0;
  for (uint32_t m = warp.parked; m; m &= m - 1) {
    const int lane = __builtin_ctz(m);
    if (base[lane].site == site) group |= 1u << lane;
  }
  for (uint32_t m = group; m; m &= m - 1) base[__builtin_ctz(m)].mask_result = group;
  warp.parked &= ~group;
  make_runnable(w, warp, group);
}

Fiber* pick_in_warp(Worker& w, uint32_t index, uint32_t after) {
  Warp& warp = w.warps[index];
  if (!warp.runnable) {
    if (!warp.parked) return nullptr;
    release_parked(w, warp);
  }
  const uint32_t later = after >= 31 ? 0 : warp.runnable & (~0u << (after + 1));
  return &w.fibers[index * 32 + warp.lane_at[__builtin_ctz(later ? later : warp.runnable)]];
}

Fiber* pick_next(Worker& w, Fiber* from, bool prefer_other_warp) {
  if (!prefer_other_warp)
    if (Fiber* f = pick_in_warp(w, from->warp, from->position)) return f;
  const uint32_t n = (uint32_t)w.warps.size(), at = w.warp_index[from->warp];
  for (uint32_t i = 1; i < n; ++i)
    if (Fiber* f = pick_in_warp(w, w.warp_order[at + i < n ? at + i : at + i - n], 31)) return f;
  return prefer_other_warp ? pick_in_warp(w, from->warp, from->position) : nullptr;
}

void switch_from(Worker& w, Fiber* from, bool prefer_other_warp = false) {
  Fiber* next = pick_next(w, from, prefer_other_warp);
  if (next == from) return;
  w.current = next;
  Context* to = next ? static_cast<Context*>(next) : &w.main;
  bc::transfer_t t = bc::jump_fcontext(to->ctx, static_cast<Context*>(from));
  static_cast<Context*>(t.data)->ctx = t.fctx;
}

void wait_now(Worker& w, Fiber* f, State why) {
  f->state = why;
  w.warps[f->warp].runnable &= ~(1u << f->position);
  switch_from(w, f);
}

// Collectives and barriers.

void complete_slot(Worker& w, uint32_t warp_index, int slot_index, uint32_t except_lane) {
  Warp& warp = w.warps[warp_index];
  Slot& s = warp.slots[slot_index];
  s.fn(s.args, s.arrived);
  warp.used_slots &= ~(1u << slot_index);
  if (options().race) race_warp_sync(warp_index, s.arrived);
  make_runnable(w, warp, except_lane < 32 ? s.arrived & ~(1u << except_lane) : s.arrived);
}

void release_barrier(Worker& w, uint32_t id, Fiber* except) {
  Barrier& b = w.barriers[id];
  int v = b.reduce == kAnd ? 1 : 0;
  for (Fiber& f : w.fibers) {
    if (f.state != State::kBarrier || f.waiting_id != id) continue;
    if (b.reduce == kPopc)
      v += f.predicate != 0;
    else if (b.reduce == kAnd)
      v &= f.predicate != 0;
    else if (b.reduce == kOr)
      v |= f.predicate != 0;
  }
  for (Warp& warp : w.warps) {
    Fiber* base = &w.fibers[(&warp - w.warps.data()) * 32];
    uint32_t lanes = 0;
    for (uint32_t m = warp.valid; m; m &= m - 1) {
      const int lane = __builtin_ctz(m);
      Fiber& f = base[lane];
      if (f.state != State::kBarrier || f.waiting_id != id) continue;
      f.reduced = v;
      f.state = State::kRunning;
      if (&f != except) lanes |= 1u << lane;
    }
    if (lanes) make_runnable(w, warp, lanes);
  }
  b = Barrier{};
  w.idle_yields = 0;
  if (options().race) race_block_barrier();
}

bool barrier_full(const Worker& w, const Barrier& b) {
  return b.expected ? b.waiting + b.arrived >= b.expected : b.waiting >= w.live;
}

void on_exit(Worker& w, Fiber* f) {
  const bool pending =
      f->open != 0 || std::any_of(f->groups.begin(), f->groups.end(), [](uint32_t n) { return n; });
  if (pending && !options().lax_cp_async)
    fault(f, "the thread exits with cp.async copies that were never waited for");
  f->state = State::kDone;
  --w.live;
  w.idle_yields = 0;
  Warp& warp = w.warps[f->warp];
  warp.exited |= 1u << f->lane;
  warp.runnable &= ~(1u << f->position);
  for (uint32_t m = warp.used_slots; m; m &= m - 1) {  // exited lanes no longer hold up collectives
    const int i = __builtin_ctz(m);
    Slot& s = warp.slots[i];
    if (!(s.mask >> f->lane & 1)) continue;
    if (s.aligned) {
      f->site = s.site;
      fault(f, "lane %u exited while other lanes of its warp wait in %s", f->lane, s.kind);
    }
    if ((s.mask & ~warp.exited) == s.arrived) complete_slot(w, f->warp, i, 32);
  }
  for (uint32_t id = 0; id < kBarriers; ++id) {
    Barrier& b = w.barriers[id];
    if (b.waiting && !b.expected && w.live && barrier_full(w, b)) {
      if (options().strict_exit)
        fault(f, "the thread exited while others of its block wait at a barrier");
      release_barrier(w, id, nullptr);
    }
  }
}

void fiber_entry(bc::transfer_t t) {
  static_cast<Context*>(t.data)->ctx = t.fctx;
  Worker& w = *tl_worker;
  Fiber* f = w.current;
  w.view.kernel->entry(f);
  on_exit(w, f);
  switch_from(w, f);
  __builtin_unreachable();
}

[[noreturn]] void report_deadlock(Worker& w) {
  std::map<std::string, std::pair<int, Fiber*>> groups;
  for (Fiber& f : w.fibers) {
    std::string what;
    if (f.state == State::kDone)
      what = "exited";
    else if (f.state == State::kBarrier)
      what = "at barrier " + std::to_string(f.waiting_id) + ", " +
             describe_site(w.view.module, f.site);
    else {
      char m[64];
      snprintf(m, sizeof m, " (mask %08x)", f.waiting_mask);
      what = std::string("in ") + f.waiting_for + m + ", " + describe_site(w.view.module, f.site);
    }
    auto& g = groups[what];
    if (!g.first++) g.second = &f;
  }
  std::string text;
  Fiber* one = nullptr;
  for (auto& g : groups) {
    text += " [" + std::to_string(g.second.first) + " threads " + g.first + "]";
    if (g.second.second->state != State::kDone) one = g.second.second;
  }
  fault(one, "deadlock, no thread of the block can continue:%s", text.c_str());
}

// Running blocks.

void prepare_worker(Worker& w, const LaunchRequest& r) {
  const uint32_t n = r.block.x * r.block.y * r.block.z;
  const size_t stack = (size_t)options().stack_kb * 1024;
  if (!w.stacks) {
    w.stack_bytes = stack;
    w.stacks = (char*)mmap(nullptr, kMaxThreads * stack, PROT_READ | PROT_WRITE,
                           MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    for (uint32_t i = 0; i < kMaxThreads; ++i) mprotect(w.stacks + i * stack, kPage, PROT_NONE);
    w.shared = (uint8_t*)mmap(nullptr, kMaxShared, PROT_READ | PROT_WRITE,
                              MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    w.shared_valid.resize(kMaxShared);
  }
  const bool instrumented = options().check || options().race;
  w.threads = n;
  if (w.fibers.size() != n) w.fibers.resize(n);
  w.warps.resize((n + 31) / 32);
  w.warp_order.resize(w.warps.size());
  w.warp_index.resize(w.warps.size());
  BlockView& v = w.view;
  v.ntid = r.block;
  v.nctaid = r.grid;
  v.module = r.module;
  v.kernel = r.kernel;
  v.dynamic_offset = r.kernel->dynamic_align_offset;
  v.dynamic_size = r.dynamic_shared;
  v.shared_size = r.dynamic_shared ? r.kernel->dynamic_align_offset + r.dynamic_shared
                                   : r.kernel->static_shared;
  v.num_warps = (uint32_t)w.warps.size();
  for (uint32_t i = 0; i < n; ++i) {
    Fiber& f = w.fibers[i];
    f.worker = &w;
    f.linear = i;
    f.lane = i % 32;
    f.warp = i / 32;
    f.tid = {i % r.block.x, i / r.block.x % r.block.y, i / (r.block.x * r.block.y)};
    f.arena_limit = instrumented ? 0 : kArenaSize;
    f.shared_limit = instrumented ? 0 : v.shared_size;
    f.shared = w.shared;
    f.params = r.params;
    f.block = &v;
    f.stack_base = w.stacks + i * stack;
    f.stack_lo = (uint64_t)f.stack_base + kPage;
    f.stack_hi = (uint64_t)f.stack_base + stack;
  }
  for (uint32_t i = 0; i < w.warps.size(); ++i) {
    const uint32_t lanes = std::min(32u, n - i * 32);
    w.warps[i].valid = lanes == 32 ? ~0u : (1u << lanes) - 1;
  }
}

void order_threads(Worker& w, uint64_t block) {
  const int order = options().order;
  const uint32_t n = (uint32_t)w.warps.size();
  for (uint32_t i = 0; i < n; ++i) w.warp_order[i] = order == 1 ? n - 1 - i : i;
  if (order == 2) {
    w.random.seed((uint32_t)(options().seed * 7919u + block * 31u + w.view.grid_id));
    std::shuffle(w.warp_order.begin(), w.warp_order.end(), w.random);
  }
  for (uint32_t i = 0; i < n; ++i) {
    w.warp_index[w.warp_order[i]] = i;
    Warp& warp = w.warps[i];
    const uint32_t lanes = (uint32_t)__builtin_popcount(warp.valid);
    for (uint32_t l = 0; l < lanes; ++l)
      warp.lane_at[l] = (uint8_t)(order == 1 ? lanes - 1 - l : l);
    if (order == 2) std::shuffle(warp.lane_at, warp.lane_at + lanes, w.random);
    for (uint32_t p = 0; p < lanes; ++p) w.fibers[i * 32 + warp.lane_at[p]].position = (uint8_t)p;
  }
}

void run_block(Worker& w, uint64_t block, const LaunchRequest& r) {
  BlockView& v = w.view;
  v.ctaid = {(uint32_t)(block % r.grid.x), (uint32_t)(block / r.grid.x % r.grid.y),
             (uint32_t)(block / ((uint64_t)r.grid.x * r.grid.y))};
  v.sm_id = (uint32_t)(block % (uint64_t)options().sm_count);
  w.live = w.threads;
  w.idle_yields = 0;
  if (v.shared_size) memset(w.shared, 0xff, v.shared_size);
  if (options().check && v.shared_size) memset(w.shared_valid.data(), 0, v.shared_size);
  for (Barrier& b : w.barriers) b = Barrier{};
  for (Warp& warp : w.warps) {
    warp.exited = warp.parked = warp.used_slots = 0;
    warp.runnable = warp.valid;
  }
  const size_t usable = w.stack_bytes - kPage - 16384;
  for (uint32_t i = 0; i < w.threads; ++i) {
    Fiber& f = w.fibers[i];
    f.state = State::kRunning;
    f.site = 0;
    f.spins = 0;
    f.copies.clear();
    f.groups.clear();
    f.open = 0;
    // Stagger stack tops so that the fibers do not all compete for the same cache sets.
    char* top = f.stack_base + w.stack_bytes - ((i * 320) & 16383 & ~63u);
    f.ctx = bc::make_fcontext(top, usable, fiber_entry);
  }
  if (options().order != 0 || block == 0 || w.warp_index.empty()) order_threads(w, block);
  if (options().race) race_block_begin((uint32_t)block, w.threads);
  w.current = pick_in_warp(w, w.warp_order[0], 31);
  bc::transfer_t t = bc::jump_fcontext(w.current->ctx, &w.main);
  static_cast<Context*>(t.data)->ctx = t.fctx;
  w.current = nullptr;
  if (w.live) report_deadlock(w);
}

// Worker pool.

struct Pool {
  std::mutex mutex;
  std::condition_variable start, done;
  std::vector<std::thread> threads;
  const LaunchRequest* request = nullptr;
  uint64_t generation = 0, blocks = 0, grid_id = 0;
  int busy = 0;
  std::atomic<uint64_t> next{0};

  void work(const LaunchRequest& r) {
    static thread_local Worker* worker = nullptr;
    if (!worker) worker = new Worker;  // one per OS thread, lives as long as the process
    prepare_thread_for_faults();
    tl_worker = worker;
    worker->view.grid_id = grid_id;
    prepare_worker(*worker, r);
    order_threads(*worker, 0);
    for (uint64_t b; (b = next.fetch_add(1)) < blocks;) run_block(*worker, b, r);
    tl_worker = nullptr;
  }

  void loop() {
    uint64_t seen = 0;
    std::unique_lock<std::mutex> lock(mutex);
    for (;;) {
      start.wait(lock, [&] { return generation != seen; });
      seen = generation;
      const LaunchRequest* r = request;
      if (!r) continue;
      ++busy;
      lock.unlock();
      work(*r);
      lock.lock();
      if (--busy == 0) done.notify_all();
    }
  }

  void run(const LaunchRequest& r) {
    blocks = (uint64_t)r.grid.x * r.grid.y * r.grid.z;
    next = 0;
    ++grid_id;
    const bool parallel = options().workers > 1 && blocks > 1;
    if (parallel) {
      std::lock_guard<std::mutex> lock(mutex);
      while ((int)threads.size() < options().workers - 1) {
        threads.emplace_back([this] { loop(); });
        threads.back().detach();
      }
      request = &r;
      ++generation;
      start.notify_all();
    }
    work(r);
    if (parallel) {
      std::unique_lock<std::mutex> lock(mutex);
      request = nullptr;
      done.wait(lock, [&] { return busy == 0; });
    }
  }
};

}  // namespace

Thread* current_thread() { return tl_worker ? tl_worker->current : nullptr; }

uint8_t* shared_valid_map(Thread* t) { return self(t)->worker->shared_valid.data(); }

void run_grid(const LaunchRequest& r) {
  static Pool* pool = new Pool;
  static std::mutex one_grid;
  std::lock_guard<std::mutex> lock(one_grid);
  if (options().check) refresh_allocation_snapshot();
  if (options().race) race_launch_begin();
  pool->run(r);
  if (options().race) race_launch_end();
}

// Services called by kernels.

void collective(Thread* t, uint32_t mask, const char* kind, bool aligned, void* arg, WarpFn fn) {
  Fiber* f = self(t);
  Worker& w = *f->worker;
  Warp& warp = w.warps[f->warp];
  if (!(mask >> f->lane & 1))
    fault(t, "%s: the calling lane %u is not in the mask %08x", kind, f->lane, mask);
  mask &= warp.valid;
  if (aligned && (mask & warp.exited))
    fault(t, "%s executed after lanes %08x of the warp exited", kind, mask & warp.exited);
  int index = -1;
  for (uint32_t m = warp.used_slots; m; m &= m - 1) {
    const int i = __builtin_ctz(m);
    if (warp.slots[i].mask == mask) {
      index = i;
      break;
    }
  }
  if (index < 0) {
    index = __builtin_ctz(~warp.used_slots);
    warp.used_slots |= 1u << index;
    Slot& s = warp.slots[index];
    s.mask = mask;
    s.arrived = 0;
    s.kind = kind;
    s.site = f->site;
    s.aligned = aligned;
    s.fn = fn;
  }
  Slot& s = warp.slots[index];
  if (s.fn != fn || (aligned && s.site != f->site))
    fault(t,
          "warp divergence: lane %u executes %s while lanes %08x with the same mask %08x execute "
          "%s at %s",
          f->lane, kind, s.arrived, mask, s.kind, describe_site(w.view.module, s.site).c_str());
  s.args[f->lane] = arg;
  s.arrived |= 1u << f->lane;
  if (s.arrived == (mask & ~warp.exited)) {
    complete_slot(w, f->warp, index, f->lane);
    return;
  }
  f->waiting_for = kind;
  f->waiting_mask = mask;
  wait_now(w, f, State::kCollective);
}

uint32_t shuffle_outside_mask(Thread* t, int source, uint32_t mask) {
  if (options().strict_shuffle)
    fault(t, "shfl.sync: lane %u reads lane %d, which does not take part (lanes %08x)", t->lane,
          source, mask);
  return 0xffffffffu;
}

uint32_t active_mask(Thread* t) {
  Fiber* f = self(t);
  Worker& w = *f->worker;
  f->waiting_for = "activemask";
  w.warps[f->warp].parked |= 1u << f->lane;
  wait_now(w, f, State::kActiveMask);
  return f->mask_result;
}

int barrier(Thread* t, uint32_t id, uint32_t count, int reduce, int predicate) {
  Fiber* f = self(t);
  Worker& w = *f->worker;
  if (id >= kBarriers) fault(t, "barrier id %u is out of range", id);
  if (count % 32) fault(t, "barrier thread count %u is not a multiple of the warp size", count);
  Barrier& b = w.barriers[id];
  if (options().strict_exit && !count && w.live != w.threads)
    fault(t, "barrier executed after %u threads of the block have exited", w.threads - w.live);
  if (b.waiting + b.arrived == 0) {
    b.site = f->site;
    b.expected = count;
    b.reduce = reduce;
  } else {
    if (b.expected != count || (b.waiting && b.reduce != reduce))
      fault(
          t,
          "barrier %u used with different thread counts or operations at the same time (%u and %u)",
          id, b.expected, count);
    if (b.waiting && !count && b.site != f->site && !options().lax_barrier)
      fault(t,
            "divergent barrier: threads of the block wait at different barriers; others are at %s",
            describe_site(w.view.module, b.site).c_str());
  }
  f->waiting_id = id;
  f->predicate = predicate;
  f->state = State::kBarrier;
  ++b.waiting;
  if (barrier_full(w, b)) {
    release_barrier(w, id, f);
    return f->reduced;
  }
  wait_now(w, f, State::kBarrier);
  return f->reduced;
}

void barrier_arrive(Thread* t, uint32_t id, uint32_t count) {
  Worker& w = *self(t)->worker;
  if (id >= kBarriers || count == 0 || count % 32)
    fault(t, "bar.arrive with a bad barrier id or count");
  Barrier& b = w.barriers[id];
  if (b.waiting + b.arrived == 0) {
    b.site = t->site;
    b.expected = count;
  } else if (b.expected != count) {
    fault(t, "barrier %u used with different thread counts at the same time (%u and %u)", id,
          b.expected, count);
  }
  ++b.arrived;
  if (barrier_full(w, b)) release_barrier(w, id, nullptr);
}

void yield(Thread* t) {
  Fiber* f = self(t);
  Worker& w = *f->worker;
  if (++w.idle_yields % kLivelockCheck == 0) {
    const auto now = std::chrono::steady_clock::now();
    if (w.idle_yields == kLivelockCheck)
      w.idle_since = now;
    else if (now - w.idle_since > std::chrono::seconds(options().livelock_seconds))
      fault(t,
            "livelock: the block has only been spinning for %d s (does it wait for a block that "
            "has not started?)",
            options().livelock_seconds);
  }
  Fiber* before = w.current;
  switch_from(w, f, true);
  if (w.current == before && w.idle_yields % 64 == 0) std::this_thread::yield();
}

// Cp.async: copies are performed when waited for, so that a missing wait shows as poison.

namespace {

void perform(Fiber* f, const Copy& c) {
  const uint32_t site = f->site;
  f->site = c.site;
  const uint8_t* source =
      c.source ? access_slow(f, c.global, c.source, c.source & (c.source - 1) ? 1 : c.source, kRead)
               : nullptr;
  uint8_t* target = access_shared_slow(f, c.shared, c.size, c.size, kWrite);
  if (c.source) memcpy(target, source, c.source);
  if (c.source < c.size) memset(target + c.source, 0, c.size - c.source);
  f->site = site;
}

}  // namespace

void cp_async(Thread* t, uint64_t shared_offset, uint64_t global_address, unsigned size,
              unsigned source_size) {
  Fiber* f = self(t);
  if (source_size > size)
    fault(t, "cp.async source size %u exceeds the copy size %u", source_size, size);
  if (shared_offset % size || (source_size && global_address % size))
    fault(t, "misaligned cp.async of %u bytes (shared offset %#lx, global %#lx)", size,
          (unsigned long)shared_offset, (unsigned long)global_address);
  if (shared_offset + size > t->block->shared_size)
    fault(t, "cp.async writes shared memory out of bounds: %u bytes at offset %lu of %u", size,
          (unsigned long)shared_offset, t->block->shared_size);
  const Copy c{shared_offset, global_address, size, source_size, t->site};
  if (options().order == 2 && (f->worker->random() & 1)) {  // the hardware may also copy at once
    perform(f, c);
    return;
  }
  f->copies.push_back(c);
  ++f->open;
}

void cp_async_commit(Thread* t) {
  Fiber* f = self(t);
  f->groups.push_back(f->open);
  f->open = 0;
}

void cp_async_wait(Thread* t, uint32_t groups_left) {
  Fiber* f = self(t);
  if (f->groups.size() <= groups_left) return;
  const size_t done = f->groups.size() - groups_left;
  size_t n = 0;
  for (size_t g = 0; g < done; ++g) n += f->groups[g];
  for (size_t i = 0; i < n; ++i) perform(f, f->copies[i]);
  f->copies.erase(f->copies.begin(), f->copies.begin() + n);
  f->groups.erase(f->groups.begin(), f->groups.begin() + done);
}

}  // namespace cudasim
