// Where threads of a block wait for each other: warp collectives, activemask and barriers.
#include <algorithm>

#include "runtime/fault.h"
#include "runtime/fiber.h"
#include "runtime/options.h"
#include "runtime/race.h"

namespace cudasim {
namespace {

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

}  // namespace

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

}  // namespace cudasim
