// Warp-level communication.
#ifndef RETNET_TESTS_CUDASIM_SRC_PTX_WARP_H_
#define RETNET_TESTS_CUDASIM_SRC_PTX_WARP_H_

#include "ptx/memory.h"

namespace ptx {

enum Shuffle { kUp, kDown, kBfly, kIdx };
struct ShuffleArg {
  uint32_t value, result;
  int source;
  bool ok;
  Thread* thread;
};

inline uint32_t shfl(Thread* t, int mode, uint32_t a, uint32_t b, uint32_t c, uint32_t mask,
                     bool& ok, uint32_t site) {
  t->site = site;
  const int lane = (int)t->lane, bv = (int)(b & 31), cv = (int)(c & 31), seg = (int)(c >> 8 & 31);
  const int hi = (lane & seg) | (cv & ~seg), lo = lane & seg;
  int j;
  switch (mode) {
    case kUp:
      j = lane - bv;
      ok = j >= hi;
      break;
    case kDown:
      j = lane + bv;
      ok = j <= hi;
      break;
    case kBfly:
      j = lane ^ bv;
      ok = j <= hi;
      break;
    default:
      j = lo | (bv & ~seg);
      ok = j <= hi;
      break;
  }
  ShuffleArg arg{a, a, ok ? j : lane, ok, t};
  cudasim::collective(t, mask, "shfl.sync", false, &arg, [](void* const* p, uint32_t m) {
    for (uint32_t left = m; left; left &= left - 1) {
      auto* x = (ShuffleArg*)p[__builtin_ctz(left)];
      if (m >> x->source & 1)
        x->result = ((ShuffleArg*)p[x->source])->value;
      else
        x->result = cudasim::shuffle_outside_mask(x->thread, x->source, m);
    }
  });
  return arg.result;
}

inline void sync_warp(Thread* t, uint32_t mask, uint32_t site) {
  t->site = site;
  cudasim::collective(t, mask, "bar.warp.sync", false, nullptr, [](void* const*, uint32_t) {});
}

struct VoteArg {
  bool predicate;
  uint32_t ballot, mask;
};
inline VoteArg vote(Thread* t, uint32_t mask, bool predicate, uint32_t site) {
  t->site = site;
  VoteArg arg{predicate, 0, 0};
  cudasim::collective(t, mask, "vote.sync", false, &arg, [](void* const* p, uint32_t m) {
    uint32_t ballot = 0;
    for (uint32_t l = m; l; l &= l - 1)
      ballot |= (uint32_t)((VoteArg*)p[__builtin_ctz(l)])->predicate << __builtin_ctz(l);
    for (uint32_t l = m; l; l &= l - 1) {
      auto* x = (VoteArg*)p[__builtin_ctz(l)];
      x->ballot = ballot;
      x->mask = m;
    }
  });
  return arg;
}

struct MatchArg {
  uint64_t value;
  uint32_t result;
  bool all;
};
inline uint32_t match(Thread* t, uint32_t mask, uint64_t value, bool all, bool* same,
                      uint32_t site) {
  t->site = site;
  MatchArg arg{value, 0, all};
  cudasim::collective(t, mask, "match.sync", false, &arg, [](void* const* p, uint32_t m) {
    for (uint32_t l = m; l; l &= l - 1) {
      auto* x = (MatchArg*)p[__builtin_ctz(l)];
      x->result = 0;
      for (uint32_t k = m; k; k &= k - 1)
        if (((MatchArg*)p[__builtin_ctz(k)])->value == x->value)
          x->result |= 1u << __builtin_ctz(k);
      if (x->all && x->result != m) x->result = 0;
    }
  });
  if (same) *same = arg.result != 0;
  return arg.result;
}

enum Redux { kReduxAdd, kReduxMin, kReduxMax, kReduxAnd, kReduxOr, kReduxXor };
template <class T>
struct ReduxArg {
  T value;
  int op;
};
template <class T>
inline T redux(Thread* t, uint32_t mask, T value, int op, uint32_t site) {
  t->site = site;
  ReduxArg<T> arg{value, op};
  cudasim::collective(t, mask, "redux.sync", false, &arg, [](void* const* p, uint32_t m) {
    T r{};
    bool first = true;
    for (uint32_t l = m; l; l &= l - 1) {
      auto* x = (ReduxArg<T>*)p[__builtin_ctz(l)];
      if (first) {
        r = x->value;
        first = false;
        continue;
      }
      if constexpr (std::is_integral<T>::value) {
        switch (x->op) {
          case kReduxAdd:
            r = add(r, x->value);
            break;
          case kReduxAnd:
            r = (T)(r & x->value);
            break;
          case kReduxOr:
            r = (T)(r | x->value);
            break;
          case kReduxXor:
            r = (T)(r ^ x->value);
            break;
        }
      }
      if (x->op == kReduxMin) r = min_(r, x->value);
      if (x->op == kReduxMax) r = max_(r, x->value);
    }
    for (uint32_t l = m; l; l &= l - 1) ((ReduxArg<T>*)p[__builtin_ctz(l)])->value = r;
  });
  return arg.value;
}

inline uint32_t elect(Thread* t, uint32_t mask, bool& leader, uint32_t site) {
  const VoteArg v = vote(t, mask, true, site);
  const uint32_t first = (uint32_t)__builtin_ctz(v.mask);
  leader = first == t->lane;
  return first;
}

}  // namespace ptx

#endif  // RETNET_TESTS_CUDASIM_SRC_PTX_WARP_H_
