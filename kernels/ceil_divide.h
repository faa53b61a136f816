// Integer division that rounds up, for host and device code.
#ifndef RETNET_KERNELS_CEIL_DIVIDE_H_
#define RETNET_KERNELS_CEIL_DIVIDE_H_

#include <type_traits>

namespace retnet {

// ⌈a / b⌉ for integers a >= 0 and b > 0.
template <typename T>
constexpr T CeilDivide(T a, std::type_identity_t<T> b) {
  return (a + b - 1) / b;
}

// The smallest multiple of `multiple` that is at least `value`.
template <typename T>
constexpr T RoundUp(T value, std::type_identity_t<T> multiple) {
  return CeilDivide(value, multiple) * multiple;
}

}  // namespace retnet

#endif  // RETNET_KERNELS_CEIL_DIVIDE_H_
