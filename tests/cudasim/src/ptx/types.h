// Register values and 16-bit floating point formats.
#ifndef RETNET_TESTS_CUDASIM_SRC_PTX_TYPES_H_
#define RETNET_TESTS_CUDASIM_SRC_PTX_TYPES_H_

#include <cfloat>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <type_traits>
#ifdef __F16C__
#include <immintrin.h>
#endif

#include "runtime/sim.h"

namespace ptx {

using u128 = unsigned __int128;

struct bf16 {
  uint16_t v;
};
struct f16 {
  uint16_t v;
};
struct bf16x2 {
  uint32_t v;
};
struct f16x2 {
  uint32_t v;
};

template <class T>
constexpr bool is_half = std::is_same<T, bf16>::value || std::is_same<T, f16>::value;
template <class T>
constexpr bool is_pair = std::is_same<T, bf16x2>::value || std::is_same<T, f16x2>::value;
template <class T>
using element = std::conditional_t<std::is_same<T, bf16x2>::value, bf16, f16>;

// Reinterpretation between a raw register and a typed value of the same size.
template <class T, class S>
inline T as(S s) {
  static_assert(sizeof(T) == sizeof(S), "as<> needs equal sizes");
  T t;
  memcpy(&t, &s, sizeof t);
  return t;
}

// Assignment of a typed result to a raw register (wider integer registers are sign- or
// zero-extended).
template <class R, class T>
inline void set(R& r, T v) {
  if constexpr (std::is_same<R, bool>::value)
    r = (bool)v;
  else if constexpr (std::is_integral<T>::value || std::is_same<T, u128>::value ||
                     std::is_same<T, bool>::value)
    r = (R)v;
  else if constexpr (sizeof(R) == sizeof(T))
    r = as<R>(v);
  else if constexpr (sizeof(T) == 2)
    r = as<uint16_t>(v);
  else if constexpr (sizeof(T) == 4)
    r = as<uint32_t>(v);
  else
    r = (R)as<uint64_t>(v);
}

// Conversions.
inline float to_float(bf16 b) { return as<float>((uint32_t)b.v << 16); }
inline float half_to_float_soft(uint16_t h) {
  const uint32_t sign = (uint32_t)(h & 0x8000) << 16, exp = h >> 10 & 31, man = h & 0x3ff;
  if (exp == 31) return as<float>(sign | 0x7f800000u | man << 13);
  if (exp) return as<float>(sign | (exp + 112) << 23 | man << 13);
  const float v = (float)man * 0x1p-24f;
  return sign ? -v : v;
}
inline float to_float(f16 h) {
#ifdef __F16C__
  return _cvtsh_ss(h.v);
#else
  return half_to_float_soft(h.v);
#endif
}

enum class Round { nearest, zero, down, up };

// Shortens the double x (which may be the odd-rounded result of an exact operation) to a format
// with mantissa bits M, exponent bits E.
template <int E, int M>
inline uint16_t narrow(double x, Round mode = Round::nearest) {
  constexpr int bias = (1 << (E - 1)) - 1, emax = (1 << E) - 1;
  const uint64_t b = as<uint64_t>(x);
  const uint16_t sign = (uint16_t)(b >> 63 << (E + M));
  if (x != x) return (1u << (E + M)) - 1;
  const double a = std::fabs(x);
  if (std::isinf(a)) return sign | emax << M;
  int e;
  std::frexp(a, &e);  // a = f * 2^e, f in [0.5, 1)
  int quantum =
      (e - 1 < 1 - bias ? 1 - bias : e - 1) - M;  // exponent of one unit in the last place
  const double scaled = std::ldexp(a, -quantum);
  double r = std::floor(scaled);
  const double rest = scaled - r;
  bool up = false;
  if (mode == Round::nearest)
    up = rest > 0.5 || (rest == 0.5 && std::fmod(r, 2.0) != 0);
  else if (mode == Round::up)
    up = rest > 0 && !sign;
  else if (mode == Round::down)
    up = rest > 0 && sign;
  if (up) r += 1;
  if (r == 0) return sign;
  if (r >= std::ldexp(1.0, M + 1)) r /= 2, ++quantum;
  if (r < std::ldexp(1.0, M)) return sign | (uint16_t)r;  // subnormal
  const int be = quantum + M + bias;
  if (be >= emax) {
    const bool to_inf =
        mode == Round::nearest || (mode == Round::up && !sign) || (mode == Round::down && sign);
    return sign | (to_inf ? emax << M : ((emax - 1) << M | ((1 << M) - 1)));
  }
  return sign | (uint16_t)(be << M) | ((uint16_t)r & ((1 << M) - 1));
}

inline bf16 float_to_bf16(float f) {
  const uint32_t u = as<uint32_t>(f);
  if ((u & 0x7fffffff) > 0x7f800000) return bf16{0x7fff};
  return bf16{(uint16_t)((u + 0x7fff + ((u >> 16) & 1)) >> 16)};
}
inline f16 float_to_half(float f) {
  if (f != f) return f16{0x7fff};
#ifdef __F16C__
  return f16{(uint16_t)_cvtss_sh(f, 0)};
#else
  return f16{narrow<5, 10>(f)};
#endif
}

// Value of a typed operand as float or double for computation.
inline float value(float x) { return x; }
inline double value(double x) { return x; }
inline float value(bf16 x) { return to_float(x); }
inline float value(f16 x) { return to_float(x); }

template <class T>
inline T from_double(double x, Round m = Round::nearest) {
  if constexpr (std::is_same<T, bf16>::value)
    return bf16{narrow<8, 7>(x, m)};
  else if constexpr (std::is_same<T, f16>::value)
    return f16{narrow<5, 10>(x, m)};
  else
    return (T)x;
}
template <class T>
inline T from_float(float x) {
  if constexpr (std::is_same<T, bf16>::value)
    return float_to_bf16(x);
  else if constexpr (std::is_same<T, f16>::value)
    return float_to_half(x);
  else
    return (T)x;
}

template <class P>
inline element<P> low(P p) {
  return element<P>{(uint16_t)p.v};
}
template <class P>
inline element<P> high(P p) {
  return element<P>{(uint16_t)(p.v >> 16)};
}
template <class P>
inline P pack(element<P> lo, element<P> hi) {
  return P{(uint32_t)lo.v | (uint32_t)hi.v << 16};
}

inline float flush(float x) { return std::fabs(x) < FLT_MIN ? std::copysign(0.0f, x) : x; }
template <class T>
inline T flush(T x) {
  return x;
}

template <class T>
inline T saturate(T x) {
  if constexpr (is_pair<T>)
    return pack<T>(saturate(low(x)), saturate(high(x)));
  else if constexpr (is_half<T>)
    return from_float<T>(saturate(to_float(x)));
  else
    return x != x ? T(0) : x < 0 ? T(0) : x > 1 ? T(1) : x;
}
template <class T>
inline T relu(T x) {
  if constexpr (is_pair<T>)
    return pack<T>(relu(low(x)), relu(high(x)));
  else if constexpr (is_half<T>) {
    const float f = to_float(x);
    return f != f ? x : f > 0 ? x : T{0};
  } else
    return x != x ? x : x > 0 ? x : T(0);
}

// The cvt instruction.
template <class T>
inline T round_nearest(T x) {
  return std::nearbyint(x);
}
template <class T>
inline T round_zero(T x) {
  return std::trunc(x);
}
template <class T>
inline T round_down(T x) {
  return std::floor(x);
}
template <class T>
inline T round_up(T x) {
  return std::ceil(x);
}

template <class D, class S>
inline D float_to_int(S x) {
  if (x != x)
    return sizeof(D) == 8                               ? (D)(1ull << 63)
           : std::is_signed<D>::value && sizeof(D) == 4 ? (D)0
                                                        : (D)0;
  constexpr D lo = std::numeric_limits<D>::min(), hi = std::numeric_limits<D>::max();
  if (x <= (S)lo) return lo;
  if (x >= (S)hi) return hi;
  return (D)x;
}
template <class D, class S>
inline D saturate_int(S x) {
  const __int128 v = x, lo = std::numeric_limits<D>::min(), hi = std::numeric_limits<D>::max();
  return (D)(v < lo ? lo : v > hi ? hi : v);
}
// double or integer -> float with a rounding mode
template <class S>
inline float to_f32(S x, Round m) {
  const float f = (float)x;
  if (m == Round::nearest || f != f || std::isinf(f)) {
    if (std::isinf(f) && m != Round::nearest && !std::isinf((double)x)) {
      const bool neg = f < 0;
      const bool stay = m == Round::zero || (m == Round::down && !neg) || (m == Round::up && neg);
      return stay ? std::copysign(FLT_MAX, f) : f;
    }
    return f;
  }
  bool above, below;  // compare exactly
  if constexpr (std::is_integral<S>::value) {
    const __int128 i = x, j = (__int128)f;
    above = j > i, below = j < i;
  } else {
    above = (double)f > (double)x, below = (double)f < (double)x;
  }
  if (above && (m == Round::down || (m == Round::zero && f > 0)))
    return std::nextafterf(f, -INFINITY);
  if (below && (m == Round::up || (m == Round::zero && f < 0))) return std::nextafterf(f, INFINITY);
  return f;
}
template <class S>
inline double to_f64(S x, Round m) {
  const double f = (double)x;
  if constexpr (std::is_integral<S>::value) {
    const __int128 i = x, j = (__int128)f;
    if (j > i && (m == Round::down || (m == Round::zero && f > 0)))
      return std::nextafter(f, -INFINITY);
    if (j < i && (m == Round::up || (m == Round::zero && f < 0)))
      return std::nextafter(f, INFINITY);
  }
  return f;
}
inline uint32_t to_tf32(float x) {  // round to nearest, ties away
  uint32_t u = as<uint32_t>(x);
  if ((u & 0x7f800000) == 0x7f800000) return u;
  return (u + 0x1000) & 0xffffe000u;
}

}  // namespace ptx

#endif  // RETNET_TESTS_CUDASIM_SRC_PTX_TYPES_H_
