// Loads, stores and atomics.
#ifndef RETNET_TESTS_CUDASIM_SRC_PTX_MEMORY_H_
#define RETNET_TESTS_CUDASIM_SRC_PTX_MEMORY_H_

#include "ptx/bits.h"

namespace ptx {

using cudasim::Thread;

#define CUDASIM_LIKELY(x) __builtin_expect(!!(x), 1)

// Address in global memory -> storage.
template <unsigned Size>
inline uint8_t* global_at(Thread* t, uint64_t a, int mode, uint32_t site) {
  t->site = site;
  if (CUDASIM_LIKELY(a - cudasim::kArenaBase < t->arena_limit && !(a & (Size - 1))))
    return (uint8_t*)(a + cudasim::kArenaOffset);
  return cudasim::access_slow(t, a, Size, Size, mode);
}
// Offset in shared memory -> storage.
template <unsigned Size>
inline uint8_t* shared_at(Thread* t, uint64_t a, int mode, uint32_t site) {
  t->site = site;
  if (CUDASIM_LIKELY(a + Size <= t->shared_limit && !(a & (Size - 1)) && a < t->shared_limit))
    return t->shared + a;
  return cudasim::access_shared_slow(t, a, Size, Size, mode);
}
template <unsigned Size>
inline uint8_t* generic_at(Thread* t, uint64_t a, int mode, uint32_t site) {
  t->site = site;
  if (CUDASIM_LIKELY(a - cudasim::kArenaBase < t->arena_limit && !(a & (Size - 1))))
    return (uint8_t*)(a + cudasim::kArenaOffset);
  const uint64_t s = a - cudasim::kSharedWindow;
  if (s < t->shared_limit && s + Size <= t->shared_limit && !(s & (Size - 1))) return t->shared + s;
  if (a >= t->stack_lo && a + Size <= t->stack_hi && !(a & (Size - 1))) return (uint8_t*)a;
  return cudasim::access_slow(t, a, Size, Size, mode);
}
// Local memory: the address is a host address on this fiber's stack.
template <unsigned Size>
inline uint8_t* local_at(Thread* t, uint64_t a, int, uint32_t site) {
  t->site = site;
  if (__builtin_expect(a & (Size - 1), 0))
    cudasim::fault(t, "misaligned local access of %u bytes", Size);
  if (__builtin_expect(a < t->stack_lo || a + Size > t->stack_hi, 0))
    cudasim::fault(t, "local memory access of %u bytes out of bounds", Size);
  return (uint8_t*)a;
}

template <class T>
inline T load(const uint8_t* p) {
  T v;
  memcpy(&v, p, sizeof v);
  return v;
}
template <class T>
inline void store(uint8_t* p, T v) {
  memcpy(p, &v, sizeof v);
}
template <class T>
inline T load_volatile(Thread* t, const uint8_t* p) {
  if ((++t->spins & 15) == 0) cudasim::yield(t);
  T v;
  if constexpr (sizeof(T) <= 8)
    __atomic_load((const T*)p, &v, __ATOMIC_ACQUIRE);
  else
    memcpy(&v, (const void*)p, sizeof v), __atomic_thread_fence(__ATOMIC_ACQUIRE);
  return v;
}
template <class T>
inline void store_volatile(uint8_t* p, T v) {
  if constexpr (sizeof(T) <= 8)
    __atomic_store((T*)p, &v, __ATOMIC_RELEASE);
  else
    memcpy(p, &v, sizeof v), __atomic_thread_fence(__ATOMIC_RELEASE);
}

// Atomics.
template <class T, class F>
inline T read_modify_write(Thread* t, uint8_t* address, F f) {
  if ((++t->spins & 15) == 0) cudasim::yield(t);
  if constexpr (sizeof(T) == 16) {
    T old = load<T>(address);
    store(address, f(old));
    return old;
  } else {
    T* p = (T*)address;
    T old, next;
    __atomic_load(p, &old, __ATOMIC_RELAXED);
    do next = f(old);
    while (!__atomic_compare_exchange(p, &old, &next, false, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED));
    return old;
  }
}
template <class T>
inline T atom_add(Thread* t, uint8_t* p, T v) {
  return read_modify_write<T>(t, p, [v](T a) { return add(a, v); });
}
template <class T>
inline T atom_min(Thread* t, uint8_t* p, T v) {
  return read_modify_write<T>(t, p, [v](T a) { return min_(a, v); });
}
template <class T>
inline T atom_max(Thread* t, uint8_t* p, T v) {
  return read_modify_write<T>(t, p, [v](T a) { return max_(a, v); });
}
template <class T>
inline T atom_and(Thread* t, uint8_t* p, T v) {
  return read_modify_write<T>(t, p, [v](T a) { return (T)(a & v); });
}
template <class T>
inline T atom_or(Thread* t, uint8_t* p, T v) {
  return read_modify_write<T>(t, p, [v](T a) { return (T)(a | v); });
}
template <class T>
inline T atom_xor(Thread* t, uint8_t* p, T v) {
  return read_modify_write<T>(t, p, [v](T a) { return (T)(a ^ v); });
}
template <class T>
inline T atom_exch(Thread* t, uint8_t* p, T v) {
  return read_modify_write<T>(t, p, [v](T) { return v; });
}
template <class T>
inline T atom_inc(Thread* t, uint8_t* p, T v) {
  return read_modify_write<T>(t, p, [v](T a) { return a >= v ? (T)0 : (T)(a + 1); });
}
template <class T>
inline T atom_dec(Thread* t, uint8_t* p, T v) {
  return read_modify_write<T>(t, p, [v](T a) { return a == 0 || a > v ? v : (T)(a - 1); });
}
template <class T>
inline T atom_cas(Thread* t, uint8_t* p, T expected, T v) {
  return read_modify_write<T>(t, p, [expected, v](T a) { return a == expected ? v : a; });
}

}  // namespace ptx

#endif  // RETNET_TESTS_CUDASIM_SRC_PTX_MEMORY_H_
