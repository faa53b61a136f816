// One OS thread runs one block at a time. Each simulated thread is a fiber that runs until it has
// to wait (block barrier, warp collective) and then switches directly to the next runnable fiber.
#include "runtime/block.h"

#include <sys/mman.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <cstring>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "runtime/fault.h"
#include "runtime/fiber.h"
#include "runtime/memory.h"
#include "runtime/options.h"
#include "runtime/race.h"

namespace bc = boost::context::detail;

namespace cudasim {
namespace {

constexpr size_t kPage = 4096;
constexpr uint32_t kMaxThreads = 1024;
constexpr uint32_t kMaxShared = 256 * 1024;

thread_local Worker* tl_worker = nullptr;

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

}  // namespace cudasim
