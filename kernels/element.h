// Reads the elements of a checkpoint's matrices as fp32, which holds each of their types exactly.
#ifndef RETNET_KERNELS_ELEMENT_H_
#define RETNET_KERNELS_ELEMENT_H_

#include <bit>
#include <cstdint>
#include <cstring>

#include "kernels/tensor.h"

namespace retnet {

inline float FromBFloat16(uint16_t bits) { return std::bit_cast<float>(uint32_t{bits} << 16); }

// IEEE 754 binary16: 1 sign, 5 exponent and 10 fraction bits.
inline float FromFloat16(uint16_t bits) {
  const uint32_t sign = uint32_t{bits & 0x8000u} << 16;
  const uint32_t exponent = (bits >> 10) & 0x1Fu;
  const uint32_t fraction = bits & 0x3FFu;
  if (exponent == 0) {  // zero and subnormals: the fraction in units of 2⁻²⁴
    const float magnitude = static_cast<float>(fraction) * 0x1p-24f;
    return sign != 0 ? -magnitude : magnitude;
  }
  const uint32_t wide_exponent = exponent == 0x1Fu ? 0xFFu : exponent + (127 - 15);
  return std::bit_cast<float>(sign | wide_exponent << 23 | fraction << 13);
}

// The element at `index` of row-major data without gaps, at any alignment.
inline float ElementAt(const HostTensor& tensor, int64_t index) {
  if (tensor.type == ElementType::kFloat32) {
    float value;
    std::memcpy(&value, tensor.data + index * 4, sizeof(value));
    return value;
  }
  uint16_t bits;
  std::memcpy(&bits, tensor.data + index * 2, sizeof(bits));
  return tensor.type == ElementType::kBFloat16 ? FromBFloat16(bits) : FromFloat16(bits);
}

}  // namespace retnet

#endif  // RETNET_KERNELS_ELEMENT_H_
