// Views of numbers. They own no memory and never allocate, copy or convert.
#ifndef RETNET_KERNELS_TENSOR_H_
#define RETNET_KERNELS_TENSOR_H_

#include <cstddef>
#include <cstdint>

namespace retnet {

using TokenId = int32_t;

// How a checkpoint stores an element.
enum class ElementType { kFloat32, kFloat16, kBFloat16 };

constexpr size_t SizeOf(ElementType type) { return type == ElementType::kFloat32 ? 4 : 2; }

// A matrix as a checkpoint stores it: [rows, columns], row-major without gaps, little-endian, at
// any alignment. A vector has rows = 1. A weight of a matrix product is [outputs, inputs].
struct HostTensor {
  ElementType type = ElementType::kFloat32;
  const std::byte* data = nullptr;
  int64_t rows = 0;
  int64_t columns = 0;
  // Size of a block of rows whose stored order differs from the matrix's. Even, and divides `rows`.
  // The first half of a block are its stored rows 0, 2, 4, …; the second half 1, 3, 5, …. So pairs
  // that are stored side by side are half a block apart in the matrix. 0: the orders are equal.
  int64_t interleaved_rows = 0;

  // Where row `row` of the matrix is stored.
  constexpr int64_t StoredRow(int64_t row) const {
    if (interleaved_rows == 0) return row;
    const int64_t in_block = row % interleaved_rows;
    const int64_t half = interleaved_rows / 2;
    return row - in_block + (in_block < half ? 2 * in_block : 2 * (in_block - half) + 1);
  }
  constexpr const std::byte* row(int64_t i) const {
    return data + StoredRow(i) * columns * static_cast<int64_t>(SizeOf(type));
  }
};

// A row-major matrix [rows, columns] on the device. `stride` is the distance between rows, in
// elements. The functions are constexpr so that device code can call them.
template <typename T>
struct MatrixView {
  T* data = nullptr;
  int64_t rows = 0;
  int64_t columns = 0;
  int64_t stride = 0;

  MatrixView() = default;
  constexpr MatrixView(T* data, int64_t rows, int64_t columns, int64_t stride)
      : data(data), rows(rows), columns(columns), stride(stride) {}
  constexpr MatrixView(T* data, int64_t rows, int64_t columns)
      : MatrixView(data, rows, columns, columns) {}
  // Converts a view of mutable elements to a view of constant elements.
  template <typename U>
  constexpr MatrixView(const MatrixView<U>& other)  // NOLINT: implicit on purpose
      : MatrixView(other.data, other.rows, other.columns, other.stride) {}

  constexpr T* row(int64_t i) const { return data + i * stride; }
  constexpr MatrixView Rows(int64_t first, int64_t count) const {
    return MatrixView(row(first), count, columns, stride);
  }
  constexpr MatrixView Columns(int64_t first, int64_t count) const {
    return MatrixView(data + first, rows, count, stride);
  }
};

}  // namespace retnet

#endif  // RETNET_KERNELS_TENSOR_H_
