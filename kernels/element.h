// Conversions between fp32 and the element types. Widening to fp32 is exact; narrowing rounds.
#ifndef RETNET_KERNELS_ELEMENT_H_
#define RETNET_KERNELS_ELEMENT_H_

#include <algorithm>
#include <bit>
#include <cmath>
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
  if (exponent == 0) {  // zero and subnormals: the fraction counts units of 2⁻²⁴
    const float magnitude = static_cast<float>(fraction) * 0x1p-24f;
    return sign != 0 ? -magnitude : magnitude;
  }
  const uint32_t wide_exponent = exponent == 0x1Fu ? 0xFFu : exponent + (127 - 15);
  return std::bit_cast<float>(sign | wide_exponent << 23 | fraction << 13);
}

// Rounds to the nearest, ties to even. A NaN stays a NaN.
inline uint16_t ToBFloat16(float value) {
  const auto bits = std::bit_cast<uint32_t>(value);
  if (std::isnan(value)) return static_cast<uint16_t>(bits >> 16 | 0x40);
  return static_cast<uint16_t>((bits + 0x7FFF + (bits >> 16 & 1)) >> 16);
}

// Rounds to the nearest, ties to even. A NaN stays a NaN. A larger magnitude, infinity included,
// becomes 65504, the largest finite fp16 number.
inline uint16_t ToFloat16(float value) {
  const auto bits = std::bit_cast<uint32_t>(value);
  const auto sign = static_cast<uint16_t>(bits >> 16 & 0x8000u);
  if (std::isnan(value)) return sign | 0x7E00;
  const float magnitude = std::min(std::fabs(value), 65504.0f);
  if (magnitude < 0x1p-14f) {  // subnormals count units of 2⁻²⁴
    return sign | static_cast<uint16_t>(std::nearbyintf(magnitude * 0x1p24f));
  }
  const auto normal = std::bit_cast<uint32_t>(magnitude);
  return sign | static_cast<uint16_t>(((normal + 0xFFF + (normal >> 13 & 1)) >> 13) - (112u << 10));
}

// Element `index` of the matrix, counted row by row, widened to fp32.
inline float ElementAt(const HostTensor& tensor, int64_t index) {
  if (tensor.interleaved_rows != 0) {
    index = tensor.StoredRow(index / tensor.columns) * tensor.columns + index % tensor.columns;
  }
  if (tensor.type == ElementType::kFloat32) {
    float value;
    std::memcpy(&value, tensor.data + index * 4, sizeof(value));
    return value;
  }
  uint16_t bits;
  std::memcpy(&bits, tensor.data + index * 2, sizeof(bits));
  return tensor.type == ElementType::kBFloat16 ? FromBFloat16(bits) : FromFloat16(bits);
}

// Rounds `value` to `type` and stores it as element `index` of `data`, at any alignment.
inline void SetElement(float value, ElementType type, int64_t index, std::byte* data) {
  if (type == ElementType::kFloat32) {
    std::memcpy(data + index * 4, &value, sizeof(value));
    return;
  }
  const uint16_t bits = type == ElementType::kBFloat16 ? ToBFloat16(value) : ToFloat16(value);
  std::memcpy(data + index * 2, &bits, sizeof(bits));
}

}  // namespace retnet

#endif  // RETNET_KERNELS_ELEMENT_H_
