// Integer instructions beyond plain arithmetic: shifts, bit fields, permutations, dot products of
// bytes.
#ifndef RETNET_TESTS_CUDASIM_SRC_PTX_BITS_H_
#define RETNET_TESTS_CUDASIM_SRC_PTX_BITS_H_

#include "ptx/arith.h"

namespace ptx {

template <class T>
inline T mad_lo(T a, T b, T c) {
  return add(mul(a, b), c);
}
template <class T>
inline T mad_hi(T a, T b, T c) {
  return add(mul_hi(a, b), c);
}
template <class T>
inline T add_sat(T a, T b) {
  return saturate_int<T>((int64_t)a + (int64_t)b);
}
template <class T>
inline T sub_sat(T a, T b) {
  return saturate_int<T>((int64_t)a - (int64_t)b);
}
template <class T>
inline T mul24(T a, T b) {
  auto cut = [](T x) {
    return std::is_signed<T>::value ? (int64_t)((int32_t)((uint32_t)x << 8) >> 8)
                                    : (int64_t)((uint32_t)x & 0xffffff);
  };
  return (T)(cut(a) * cut(b));
}
template <class T>
inline T sad(T a, T b, T c) {
  return (T)(c + (a < b ? (Unsigned<T>)b - (Unsigned<T>)a : (Unsigned<T>)a - (Unsigned<T>)b));
}
template <class T>
inline T shl(T a, uint32_t n) {
  return n >= sizeof(T) * 8 ? T(0) : (T)((uint64_t)a << n);
}
template <class T>
inline T shr(T a, uint32_t n) {
  if (n >= sizeof(T) * 8) return std::is_signed<T>::value && a < 0 ? (T)-1 : (T)0;
  return (T)(a >> n);
}
template <class T>
inline uint32_t popc(T a) {
  return (uint32_t)__builtin_popcountll((uint64_t)a);
}
template <class T>
inline uint32_t clz(T a) {
  return a ? (uint32_t)(__builtin_clzll((uint64_t)a) - (64 - sizeof(T) * 8))
           : (uint32_t)sizeof(T) * 8;
}
template <class T>
inline T brev(T a) {
  T r = 0;
  for (unsigned i = 0; i < sizeof(T) * 8; ++i) r |= (T)(a >> i & 1) << (sizeof(T) * 8 - 1 - i);
  return r;
}
template <class T>
inline uint32_t bfind(T a, bool shift_amount) {
  Unsigned<T> x = (Unsigned<T>)a;
  if (std::is_signed<T>::value && a < 0) x = (Unsigned<T>)~x;
  if (!x) return ~0u;
  const uint32_t r = 63 - (uint32_t)__builtin_clzll((uint64_t)x);
  return shift_amount ? (uint32_t)sizeof(T) * 8 - 1 - r : r;
}
inline uint32_t fns(uint32_t mask, uint32_t base, int32_t offset) {
  if (offset == 0) return mask >> (base & 31) & 1 ? base : ~0u;
  const int step = offset > 0 ? 1 : -1;
  int left = offset > 0 ? offset : -offset;
  for (int p = (int)base; p >= 0 && p < 32; p += step)
    if (mask >> p & 1 && --left == 0) return (uint32_t)p;
  return ~0u;
}
template <class T>
inline T bfe(T a, uint32_t pos, uint32_t len) {
  pos &= 255, len &= 255;
  constexpr uint32_t bits = sizeof(T) * 8, msb = bits - 1;
  if (!std::is_signed<T>::value) {
    if (pos > msb || !len) return 0;
    const uint64_t x = (uint64_t)a >> pos;
    return (T)(len >= bits ? x : x & ((1ull << len) - 1));
  }
  if (!len) return 0;
  const uint32_t sign_at = pos + len - 1 < msb ? pos + len - 1 : msb;
  const bool sign = (uint64_t)a >> sign_at & 1;
  uint64_t r = sign ? ~0ull : 0;
  for (uint32_t i = 0; i < len && i <= msb && pos + i <= msb; ++i) {
    r &= ~(1ull << i);
    r |= ((uint64_t)a >> (pos + i) & 1) << i;
  }
  return (T)r;
}
template <class T>
inline T bfi(T a, T b, uint32_t pos, uint32_t len) {
  pos &= 255, len &= 255;
  constexpr uint32_t bits = sizeof(T) * 8;
  if (pos >= bits || !len) return b;
  const T m = (T)((len >= bits ? ~T(0) : (T)((T(1) << len) - 1)) << pos);
  return (T)((b & ~m) | ((T)(a << pos) & m));
}
inline uint32_t bmsk(uint32_t a, uint32_t b, bool clamp) {
  if (!clamp) a &= 31, b &= 31;
  if (a > 31 || !b) return 0;
  const uint64_t m = b > 31 ? ~0ull : (1ull << b) - 1;
  return (uint32_t)(m << a);
}
template <class T>
inline T szext(T a, uint32_t b, bool clamp) {
  if (!clamp) b &= 31;
  if (b > 31) return a;
  if (b == 0) return 0;
  if (std::is_signed<T>::value) return (T)((int32_t)((uint32_t)a << (32 - b)) >> (32 - b));
  return (T)((uint32_t)a & ((1u << b) - 1));
}
inline uint32_t prmt(uint32_t a, uint32_t b, uint32_t s) {
  const uint64_t x = (uint64_t)b << 32 | a;
  uint32_t r = 0;
  for (int i = 0; i < 4; ++i) {
    const uint32_t sel = s >> (4 * i) & 15;
    uint32_t byte = (uint32_t)(x >> (8 * (sel & 7))) & 255;
    if (sel & 8) byte = byte & 128 ? 255 : 0;
    r |= byte << (8 * i);
  }
  return r;
}
inline uint32_t prmt_mode(uint32_t a, uint32_t b, uint32_t c,
                          int mode) {  // f4e b4e rc8 ecl ecr rc16
  static const uint16_t table[6][4] = {
      {0x3210, 0x4321, 0x5432, 0x6543}, {0x5670, 0x6701, 0x7012, 0x0123},
      {0x0000, 0x1111, 0x2222, 0x3333}, {0x3210, 0x3211, 0x3222, 0x3333},
      {0x0000, 0x1110, 0x2210, 0x3210}, {0x1010, 0x3232, 0x1010, 0x3232}};
  return prmt(a, b, table[mode][c & 3]);
}
template <int Lut>
inline uint32_t lop3(uint32_t a, uint32_t b, uint32_t c) {
  uint32_t r = 0;
  for (int i = 0; i < 8; ++i)
    if (Lut >> i & 1) r |= (i & 4 ? a : ~a) & (i & 2 ? b : ~b) & (i & 1 ? c : ~c);
  return r;
}
inline uint32_t shf_l(uint32_t a, uint32_t b, uint32_t n, bool wrap) {
  n = wrap ? n & 31 : n > 32 ? 32 : n;
  return (uint32_t)(((((uint64_t)b << 32) | a) << n) >> 32);
}
inline uint32_t shf_r(uint32_t a, uint32_t b, uint32_t n, bool wrap) {
  n = wrap ? n & 31 : n > 32 ? 32 : n;
  return (uint32_t)((((uint64_t)b << 32) | a) >> n);
}
inline uint32_t dp4a(uint32_t a, bool sa, uint32_t b, bool sb, uint32_t c) {
  for (int i = 0; i < 4; ++i) {
    const int x = sa ? (int8_t)(a >> 8 * i) : (uint8_t)(a >> 8 * i),
              y = sb ? (int8_t)(b >> 8 * i) : (uint8_t)(b >> 8 * i);
    c += (uint32_t)(x * y);
  }
  return c;
}
inline uint32_t dp2a(uint32_t a, bool sa, uint32_t b, bool sb, uint32_t c, bool hi) {
  for (int i = 0; i < 2; ++i) {
    const int sh = 8 * (i + (hi ? 2 : 0));
    const int x = sa ? (int16_t)(a >> 16 * i) : (uint16_t)(a >> 16 * i),
              y = sb ? (int8_t)(b >> sh) : (uint8_t)(b >> sh);
    c += (uint32_t)(x * y);
  }
  return c;
}
// vabsdiff2 / vabsdiff4: absolute differences of the halfwords or bytes, packed or accumulated.
template <int Lanes>
inline uint32_t simd_absdiff(uint32_t a, bool sa, uint32_t b, bool sb, uint32_t c,
                             bool accumulate) {
  constexpr int bits = 32 / Lanes;
  uint32_t packed = 0, sum = c;
  for (int i = 0; i < Lanes; ++i) {
    auto lane = [i](uint32_t v, bool s) {
      return s ? (int32_t)(v << (32 - bits * (i + 1))) >> (32 - bits)
               : (int32_t)(v >> (bits * i) & ((1u << bits) - 1));
    };
    const int32_t x = lane(a, sa), y = lane(b, sb);
    const uint32_t d = (uint32_t)(x > y ? x - y : y - x);
    sum += d;
    packed |= (d & ((1u << bits) - 1)) << (bits * i);
  }
  return accumulate ? sum : packed;
}

}  // namespace ptx

#endif  // RETNET_TESTS_CUDASIM_SRC_PTX_BITS_H_
