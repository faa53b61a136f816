// Arithmetic and comparison instructions.
#ifndef RETNET_TESTS_CUDASIM_SRC_PTX_ARITH_H_
#define RETNET_TESTS_CUDASIM_SRC_PTX_ARITH_H_

#include <cfenv>
#include <functional>

#include "ptx/types.h"

namespace ptx {

template <class T>
using Unsigned = std::make_unsigned_t<T>;

// a*b+c in double with the inexact result made odd, so that a second rounding to a short format is
// correct.
inline double odd_fma(double p, double c) {  // p is an exact product of two short floats
  const double s = p + c;
  if (std::isnan(s) || std::isinf(s)) return s;
  const double bb = s - p, err = (p - (s - bb)) + (c - bb);
  if (err != 0) {
    uint64_t u = as<uint64_t>(s);
    if (!(u & 1)) u += (err > 0) == (s > 0) ? 1 : -1;
    return as<double>(u);
  }
  return s;
}

template <class T>
inline T add(T a, T b) {
  if constexpr (is_pair<T>)
    return pack<T>(add(low(a), low(b)), add(high(a), high(b)));
  else if constexpr (is_half<T>)
    return from_double<T>(odd_fma(to_float(a), to_float(b)));
  else if constexpr (std::is_floating_point<T>::value)
    return a + b;
  else
    return (T)((Unsigned<T>)a + (Unsigned<T>)b);
}
template <class T>
inline T sub(T a, T b) {
  if constexpr (is_pair<T>)
    return pack<T>(sub(low(a), low(b)), sub(high(a), high(b)));
  else if constexpr (is_half<T>)
    return from_double<T>(odd_fma(to_float(a), -(double)to_float(b)));
  else if constexpr (std::is_floating_point<T>::value)
    return a - b;
  else
    return (T)((Unsigned<T>)a - (Unsigned<T>)b);
}
template <class T>
inline T mul(T a, T b) {
  if constexpr (is_pair<T>)
    return pack<T>(mul(low(a), low(b)), mul(high(a), high(b)));
  else if constexpr (is_half<T>)
    return from_double<T>((double)to_float(a) * (double)to_float(b));
  else if constexpr (std::is_floating_point<T>::value)
    return a * b;
  else
    return (T)((uint64_t)a * (uint64_t)b);
}
template <class T>
inline T mul_hi(T a, T b) {
  return (T)(((__int128)a * (__int128)b) >> (sizeof(T) * 8));
}
template <>
inline uint64_t mul_hi(uint64_t a, uint64_t b) {
  return (uint64_t)(((u128)a * b) >> 64);
}
template <class T>
inline T fma(T a, T b, T c) {
  if constexpr (is_pair<T>)
    return pack<T>(fma(low(a), low(b), low(c)), fma(high(a), high(b), high(c)));
  else if constexpr (is_half<T>)
    return from_double<T>(odd_fma((double)to_float(a) * (double)to_float(b), to_float(c)));
  else
    return std::fma(a, b, c);
}

// Directed rounding of fp32/fp64 operations.
template <class F>
inline auto with_rounding(Round m, F f) {
  const int mode = m == Round::zero   ? FE_TOWARDZERO
                   : m == Round::down ? FE_DOWNWARD
                   : m == Round::up   ? FE_UPWARD
                                      : FE_TONEAREST;
  const int old = fegetround();
  fesetround(mode);
  auto r = f();
  asm volatile("" : "+x"(r));
  fesetround(old);
  return r;
}
template <class T>
inline void opaque(T& x) {
  asm volatile("" : "+x"(x));
}
template <class T>
inline T add_r(T a, T b, Round m) {
  return with_rounding(m, [&] {
    opaque(a);
    opaque(b);
    return a + b;
  });
}
template <class T>
inline T sub_r(T a, T b, Round m) {
  return with_rounding(m, [&] {
    opaque(a);
    opaque(b);
    return a - b;
  });
}
template <class T>
inline T mul_r(T a, T b, Round m) {
  return with_rounding(m, [&] {
    opaque(a);
    opaque(b);
    return a * b;
  });
}
template <class T>
inline T div_r(T a, T b, Round m) {
  return with_rounding(m, [&] {
    opaque(a);
    opaque(b);
    return a / b;
  });
}
template <class T>
inline T fma_r(T a, T b, T c, Round m) {
  return with_rounding(m, [&] {
    opaque(a);
    opaque(b);
    opaque(c);
    return std::fma(a, b, c);
  });
}
template <class T>
inline T sqrt_r(T a, Round m) {
  return with_rounding(m, [&] {
    opaque(a);
    return std::sqrt(a);
  });
}
template <class T>
inline T rcp_r(T a, Round m) {
  return div_r(T(1), a, m);
}

template <class T>
inline T div(T a, T b) {
  if constexpr (std::is_integral<T>::value) {
    if (!b) return (T)-1;
    if (std::is_signed<T>::value && b == (T)-1) return (T)(0 - (uint64_t)a);
  }
  return a / b;
}
template <class T>
inline T rem(T a, T b) {
  if (!b) return a;
  if (std::is_signed<T>::value && b == (T)-1) return 0;
  return a % b;
}

// min/max: a number wins over NaN unless the .NaN form is used; -0 < +0.
template <class T>
inline T min_(T a, T b) {
  if constexpr (is_pair<T>)
    return pack<T>(min_(low(a), low(b)), min_(high(a), high(b)));
  else if constexpr (is_half<T> || std::is_floating_point<T>::value) {
    const auto x = value(a), y = value(b);
    if (x != x) return b;
    if (y != y) return a;
    if (x == y) return std::signbit(x) ? a : b;
    return x < y ? a : b;
  } else
    return a < b ? a : b;
}
template <class T>
inline T max_(T a, T b) {
  if constexpr (is_pair<T>)
    return pack<T>(max_(low(a), low(b)), max_(high(a), high(b)));
  else if constexpr (is_half<T> || std::is_floating_point<T>::value) {
    const auto x = value(a), y = value(b);
    if (x != x) return b;
    if (y != y) return a;
    if (x == y) return std::signbit(x) ? b : a;
    return x > y ? a : b;
  } else
    return a > b ? a : b;
}
template <class T>
inline bool is_nan(T a) {
  if constexpr (is_half<T> || std::is_floating_point<T>::value) {
    const auto x = value(a);
    return x != x;
  } else
    return false;
}
template <class T>
inline T canonical_nan() {
  if constexpr (is_half<T>)
    return T{0x7fff};
  else if constexpr (sizeof(T) == 4)
    return as<T>(0x7fffffffu);
  else
    return std::numeric_limits<T>::quiet_NaN();
}
template <class T>
inline T min_nan(T a, T b) {
  if constexpr (is_pair<T>)
    return pack<T>(min_nan(low(a), low(b)), min_nan(high(a), high(b)));
  else
    return is_nan(a) || is_nan(b) ? canonical_nan<T>() : min_(a, b);
}
template <class T>
inline T max_nan(T a, T b) {
  if constexpr (is_pair<T>)
    return pack<T>(max_nan(low(a), low(b)), max_nan(high(a), high(b)));
  else
    return is_nan(a) || is_nan(b) ? canonical_nan<T>() : max_(a, b);
}
template <class T>
inline T neg(T a) {
  if constexpr (is_pair<T>)
    return T{a.v ^ 0x80008000u};
  else if constexpr (is_half<T>)
    return T{(uint16_t)(a.v ^ 0x8000)};
  else if constexpr (std::is_floating_point<T>::value)
    return -a;
  else
    return (T)(0 - (uint64_t)a);
}
template <class T>
inline T abs_(T a) {
  if constexpr (is_pair<T>)
    return T{a.v & 0x7fff7fffu};
  else if constexpr (is_half<T>)
    return T{(uint16_t)(a.v & 0x7fff)};
  else if constexpr (std::is_floating_point<T>::value)
    return std::fabs(a);
  else
    return a < 0 ? (T)(0 - (uint64_t)a) : a;
}
template <class T>
inline T copysign_(T sign, T magnitude) {
  return std::copysign(magnitude, sign);
}

// Transcendental (evaluated more accurately than the hardware's approximations).
#define CUDASIM_UNARY(name, expr)                  \
  template <class T>                               \
  inline T name(T a) {                             \
    if constexpr (is_pair<T>)                      \
      return pack<T>(name(low(a)), name(high(a))); \
    else if constexpr (is_half<T>) {               \
      const float x = to_float(a);                 \
      return from_float<T>((float)(expr));         \
    } else {                                       \
      const T x = a;                               \
      return (T)(expr);                            \
    }                                              \
  }
CUDASIM_UNARY(sqrt_, std::sqrt(x))
CUDASIM_UNARY(rsqrt, 1 / std::sqrt(x))
CUDASIM_UNARY(rcp, 1 / x)
CUDASIM_UNARY(ex2, std::exp2(x))
CUDASIM_UNARY(lg2, std::log2(x))
CUDASIM_UNARY(sin_, std::sin(x))
CUDASIM_UNARY(cos_, std::cos(x))
CUDASIM_UNARY(tanh_, std::tanh(x))
#undef CUDASIM_UNARY

// Extended-precision arithmetic: CC is the carry (add) or borrow (sub) flag.
template <class T>
inline T add_cc(T a, T b, bool& cc, bool carry_in, bool write) {
  const u128 r = (u128)(Unsigned<T>)a + (Unsigned<T>)b + (carry_in && cc);
  if (write) cc = (bool)(r >> (sizeof(T) * 8) & 1);
  return (T)r;
}
template <class T>
inline T sub_cc(T a, T b, bool& cc, bool borrow_in, bool write) {
  const u128 r = (u128)(Unsigned<T>)a - (Unsigned<T>)b - (borrow_in && cc);
  if (write) cc = (bool)(r >> (sizeof(T) * 8) & 1);
  return (T)r;
}

// Comparison. The unordered forms (…u) are true where a side is NaN.
template <class T>
inline auto comparable(T x) {
  if constexpr (is_half<T>)
    return to_float(x);
  else
    return x;
}
template <class T>
inline bool unordered(T a, T b) {
  const auto x = comparable(a), y = comparable(b);
  return x != x || y != y;
}
#define CUDASIM_COMPARE(name, Relation)                \
  template <class T>                                   \
  inline bool cmp_##name(T a, T b) {                   \
    return Relation<>()(comparable(a), comparable(b)); \
  }                                                    \
  template <class T>                                   \
  inline bool cmp_##name##u(T a, T b) {                \
    return unordered(a, b) || cmp_##name(a, b);        \
  }
CUDASIM_COMPARE(eq, std::equal_to)
CUDASIM_COMPARE(lt, std::less)
CUDASIM_COMPARE(le, std::less_equal)
CUDASIM_COMPARE(gt, std::greater)
CUDASIM_COMPARE(ge, std::greater_equal)
#undef CUDASIM_COMPARE
template <class T>
inline bool cmp_ne(T a, T b) {
  return !unordered(a, b) && comparable(a) != comparable(b);
}
template <class T>
inline bool cmp_neu(T a, T b) {
  return comparable(a) != comparable(b);
}
template <class T>
inline bool cmp_nan(T a, T b) {
  return unordered(a, b);
}
template <class T>
inline bool cmp_num(T a, T b) {
  return !unordered(a, b);
}

}  // namespace ptx

#endif  // RETNET_TESTS_CUDASIM_SRC_PTX_ARITH_H_
