#include "runtime/fiber.h"

#include <chrono>
#include <thread>

#include "runtime/options.h"

namespace bc = boost::context::detail;

namespace cudasim {
namespace {

constexpr uint64_t kLivelockCheck = 1 << 22;  // yields between looks at the clock

uint32_t positions(const Worker& w, const Warp& warp, uint32_t lanes) {
  if (options().order == 0) return lanes;
  const Fiber* first = &w.fibers[(&warp - w.warps.data()) * 32];
  uint32_t r = 0;
  for (; lanes; lanes &= lanes - 1) r |= 1u << first[__builtin_ctz(lanes)].position;
  return r;
}

// Lanes in activemask are released together once no other lane of the warp can run: those at the
// same instruction form the mask.
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

Fiber* pick_next(Worker& w, Fiber* from, bool prefer_other_warp) {
  if (!prefer_other_warp)
    if (Fiber* f = pick_in_warp(w, from->warp, from->position)) return f;
  const uint32_t n = (uint32_t)w.warps.size(), at = w.warp_index[from->warp];
  for (uint32_t i = 1; i < n; ++i)
    if (Fiber* f = pick_in_warp(w, w.warp_order[at + i < n ? at + i : at + i - n], 31)) return f;
  return prefer_other_warp ? pick_in_warp(w, from->warp, from->position) : nullptr;
}

}  // namespace

void make_runnable(Worker& w, Warp& warp, uint32_t lanes) {
  const uint32_t base = (uint32_t)(&warp - w.warps.data()) * 32;
  for (uint32_t m = lanes; m; m &= m - 1) w.fibers[base + __builtin_ctz(m)].state = State::kRunning;
  warp.runnable |= positions(w, warp, lanes);
  w.idle_yields = 0;
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

void switch_from(Worker& w, Fiber* from, bool prefer_other_warp) {
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

}  // namespace cudasim
