// How matrices lie in memory for the CPU's products: in strips of 16 columns.
#ifndef RETNET_KERNELS_CPU_STRIPS_H_
#define RETNET_KERNELS_CPU_STRIPS_H_

#include <cstdint>

namespace retnet {

// Columns of a strip: one AVX-512 vector of fp32, two of AVX2.
inline constexpr int64_t kStripColumns = 16;

constexpr int64_t StripsOf(int64_t columns) {
  return (columns + kStripColumns - 1) / kStripColumns;
}

// A view: element (i, j) is strip(j / 16)[i * row_stride + j % 16]. Row-major memory with `stride`
// elements a row is {data, stride, kStripColumns}; every strip must be whole: there, memory must be
// valid up to the next multiple of 16 columns.
template <typename T>
struct Strips {
  T* data = nullptr;
  int64_t row_stride = kStripColumns;
  int64_t strip_stride = kStripColumns;

  Strips() = default;
  Strips(T* data, int64_t row_stride, int64_t strip_stride)
      : data(data), row_stride(row_stride), strip_stride(strip_stride) {}
  // A view of mutable elements serves where one of constant elements is asked for.
  template <typename U>
  Strips(const Strips<U>& other)  // NOLINT: implicit on purpose
      : Strips(other.data, other.row_stride, other.strip_stride) {}

  T* strip(int64_t p) const { return data + p * strip_stride; }
  Strips From(int64_t row, int64_t p) const {
    return Strips(strip(p) + row * row_stride, row_stride, strip_stride);
  }
};

}  // namespace retnet

#endif  // RETNET_KERNELS_CPU_STRIPS_H_
