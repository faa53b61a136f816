// The memory layout of matrices for products on the CPU: strips of 16 columns.
#ifndef RETNET_KERNELS_CPU_STRIPS_H_
#define RETNET_KERNELS_CPU_STRIPS_H_

#include <algorithm>
#include <cstdint>

#include "kernels/ceil_divide.h"

namespace retnet::cpu {

// Columns of a strip: one AVX-512 vector of fp32, or two AVX2 vectors.
inline constexpr int64_t kStripColumns = 16;

constexpr int64_t StripsOf(int64_t columns) { return CeilDivide(columns, kStripColumns); }

// A view of a matrix. Element (i, j) is strip(j / 16)[i * row_stride + j % 16]. A row-major matrix
// with `stride` elements per row is {data, stride, kStripColumns}. Every strip must be whole:
// memory must be valid up to the next multiple of 16 columns.
template <typename T>
struct Strips {
  T* data = nullptr;
  int64_t row_stride = kStripColumns;
  int64_t strip_stride = kStripColumns;

  Strips() = default;
  Strips(T* data, int64_t row_stride, int64_t strip_stride)
      : data(data), row_stride(row_stride), strip_stride(strip_stride) {}
  // Converts a view of mutable elements to a view of constant elements.
  template <typename U>
  Strips(const Strips<U>& other)  // NOLINT: implicit on purpose
      : Strips(other.data, other.row_stride, other.strip_stride) {}

  T* strip(int64_t p) const { return data + p * strip_stride; }
  Strips From(int64_t row, int64_t p) const {
    return Strips(strip(p) + row * row_stride, row_stride, strip_stride);
  }
};

// Strips that are multiplied with a row together are interleaved row by row, as a panel, so that
// they are one contiguous run of memory.
inline constexpr int32_t kPanelStrips = 4;

// A view of a matrix [rows, 16 · strips] stored as consecutive panels [rows, 64]. The last panel
// has the remaining strips.
template <typename T>
struct Panels {
  T* data = nullptr;
  int64_t rows = 0;
  int32_t strips = 0;

  // Panels begin at multiples of kPanelStrips.
  int32_t width(int32_t first_strip) const { return std::min(kPanelStrips, strips - first_strip); }
  Strips<T> panel(int32_t first_strip) const {
    return {data + first_strip * kStripColumns * rows, width(first_strip) * kStripColumns,
            kStripColumns};
  }
  T* row(int64_t row, int32_t strip) const {
    const int32_t first = strip / kPanelStrips * kPanelStrips;
    return panel(first).From(row, strip - first).data;
  }
};

}  // namespace retnet::cpu

#endif  // RETNET_KERNELS_CPU_STRIPS_H_
