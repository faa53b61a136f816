// Random operands of matrix products, for the tests of their kernels.
#ifndef RETNET_TESTS_KERNELS_MATMUL_CASES_H_
#define RETNET_TESTS_KERNELS_MATMUL_CASES_H_

#include <bit>
#include <cmath>
#include <cstring>
#include <random>
#include <vector>

#include "kernels/cpu/matmul.h"
#include "kernels/cpu/packed.h"
#include "kernels/cpu/rows.h"
#include "kernels/element.h"

namespace retnet {

// [rows, columns] normal numbers of the type, as a checkpoint stores them.
struct RandomTensor {
  RandomTensor(ElementType type, int64_t rows, int64_t columns, std::mt19937& random)
      : bytes(rows * columns * SizeOf(type)), view{type, bytes.data(), rows, columns} {
    std::normal_distribution<float> normal;
    for (int64_t i = 0; i < rows * columns; ++i) {
      const uint32_t bits = std::bit_cast<uint32_t>(normal(random));
      uint16_t half = static_cast<uint16_t>(bits >> 16);
      if (type == ElementType::kFloat16) {  // any sign and fraction, exponents −6 to 1
        half = static_cast<uint16_t>((random() & 0x83FFu) | (9 + random() % 8) << 10);
      }
      if (type == ElementType::kFloat32) {
        std::memcpy(bytes.data() + i * 4, &bits, 4);
      } else {
        std::memcpy(bytes.data() + i * 2, &half, 2);
      }
    }
  }
  RandomTensor(const RandomTensor&) = delete;

  double At(int64_t row, int64_t column) const {
    return ElementAt(view, row * view.columns + column);
  }

  std::vector<std::byte> bytes;
  HostTensor view;
};

inline std::vector<float> RandomFloats(int64_t count, std::mt19937& random) {
  std::normal_distribution<float> normal;
  std::vector<float> values(count);
  for (float& value : values) value = normal(random);
  return values;
}

// Rows of x prepared for a matrix product. Owns their memory.
struct PreparedRows {
  PreparedRows(const cpu::RowOperators& operators, bool pairs, const float* x, int64_t rows,
               int64_t columns)
      : words(cpu::PackedActivations::Words(rows, pairs ? (columns + 1) / 2 : columns)),
        view(words.data(), rows, pairs ? (columns + 1) / 2 : columns) {
    const auto prepare = pairs ? operators.prepare_bfloat16_pairs : operators.prepare_float32;
    for (int64_t i = 0; i < rows; ++i) prepare(x + i * columns, columns, nullptr, view, i);
  }
  PreparedRows(const PreparedRows&) = delete;

  std::vector<uint32_t> words;
  cpu::PackedActivations view;
};

// The value to which a matrix product rounds a number before it multiplies.
inline double Factor(float x, bool rounds_to_bfloat16) {
  if (!rounds_to_bfloat16) return x;
  const uint32_t bits = std::bit_cast<uint32_t>(x);
  return FromBFloat16(static_cast<uint16_t>((bits + 0x7FFF + (bits >> 16 & 1)) >> 16));
}

}  // namespace retnet

#endif  // RETNET_TESTS_KERNELS_MATMUL_CASES_H_
