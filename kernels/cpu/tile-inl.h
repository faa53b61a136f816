// The fp32 product that everything on the CPU is made of: C = A·B or C += A·B over strips of 16
// columns, computed in register tiles. Included once per target from a .cc with Highway code (see
// targets-inl.h).
//
// One order of accumulation: an element of A·B is a chain of fused multiply-adds that starts from
// zero and goes over k ascending; when C is added to, it is added once, at the end. So an element's
// bits depend on its row of A and its column of B alone, not on how many rows and columns are
// beside it.
#if defined(RETNET_KERNELS_CPU_TILE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef RETNET_KERNELS_CPU_TILE_INL_H_
#undef RETNET_KERNELS_CPU_TILE_INL_H_
#else
#define RETNET_KERNELS_CPU_TILE_INL_H_
#endif

#include <algorithm>
#include <array>
#include <cstdint>
#include <utility>

#include "hwy/highway.h"
#include "kernels/cpu/strips.h"

HWY_BEFORE_NAMESPACE();
namespace retnet {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

using TileTag = hn::CappedTag<float, kStripColumns>;
using TileVector = hn::Vec<TileTag>;
constexpr int kTileLanes = hn::MaxLanes(TileTag());
constexpr int kStripVectors = kStripColumns / kTileLanes;

// Shapes of register tiles: as many accumulators as leave registers for B, and at least as many as
// a fused multiply-add's latency asks for.
#if HWY_TARGET == HWY_AVX3
constexpr int kMaxTileRows = 12;
constexpr int TileStrips(int rows) { return rows <= 6 ? 4 : 2; }
#elif HWY_TARGET == HWY_AVX2
constexpr int kMaxTileRows = 6;
constexpr int TileStrips(int rows) { return rows == 1 ? 4 : rows <= 3 ? 2 : 1; }
#else
constexpr int kMaxTileRows = 4;
constexpr int TileStrips(int rows) { return rows == 1 ? 2 : 1; }
#endif
constexpr int kMaxTileStrips = TileStrips(1);

// Vector `v` of row k of a strip of B as fp32. kOdd says whether k is odd, which only pairs need.
struct Float32Source {
  using Element = float;
  template <bool kOdd>
  static HWY_INLINE TileVector Load(const float* strip, int64_t row_stride, int64_t k, int v) {
    return hn::LoadU(TileTag(), strip + k * row_stride + v * kTileLanes);
  }
};

// C's rows [0, kRows) and strips [0, min(kStrips, strips)), the whole depth. A's row i starts at
// a + i * a_stride; Stride is an integer or an integral constant, which saves address registers.
template <int kRows, typename Source, typename Stride>
void ComputeTile(const float* HWY_RESTRICT a, Stride a_stride,
                 Strips<const typename Source::Element> b, int64_t strips, int64_t depth, bool add,
                 Strips<float> c) {
  constexpr int kStrips = TileStrips(kRows);
  constexpr int kVectors = kStrips * kStripVectors;
  const TileTag d;
  const typename Source::Element* strip[kStrips];
  for (int p = 0; p < kStrips; ++p) {  // what is beyond the last strip is computed from it, unused
    strip[p] = b.strip(std::min<int64_t>(p, strips - 1));
  }
  TileVector sum[kRows][kVectors];
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 16
    for (int v = 0; v < kVectors; ++v) sum[r][v] = hn::Zero(d);
  }
  const auto step = [&]<bool kOdd>(std::bool_constant<kOdd>, int64_t k) HWY_ATTR {
    TileVector row[kVectors];
#pragma GCC unroll 16
    for (int v = 0; v < kVectors; ++v) {
      row[v] =
          Source::template Load<kOdd>(strip[v / kStripVectors], b.row_stride, k, v % kStripVectors);
    }
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) {
      const TileVector factor = hn::Set(d, a[r * a_stride + k]);
#pragma GCC unroll 16
      for (int v = 0; v < kVectors; ++v) sum[r][v] = hn::MulAdd(factor, row[v], sum[r][v]);
    }
  };
  int64_t k = 0;
  for (; k + 2 <= depth; k += 2) {
    step(std::false_type(), k);
    step(std::true_type(), k + 1);
  }
  if (k < depth) step(std::false_type(), k);

#pragma GCC unroll 16
  for (int p = 0; p < kStrips; ++p) {
    if (p >= strips) break;
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) {
      float* out = c.strip(p) + r * c.row_stride;
#pragma GCC unroll 16
      for (int v = 0; v < kStripVectors; ++v) {
        TileVector value = sum[r][p * kStripVectors + v];
        if (add) value = hn::Add(hn::LoadU(d, out + v * kTileLanes), value);
        hn::StoreU(value, d, out + v * kTileLanes);
      }
    }
  }
}

// C (+)= A·B for any number of rows and whole strips: A [rows, depth] as above, B [depth, 16 ·
// strips], C [rows, 16 · strips]. C overlaps neither.
template <typename Source, typename Stride>
void MultiplyStrips(const float* a, Stride a_stride, int64_t rows,
                    Strips<const typename Source::Element> b, int64_t strips, int64_t depth,
                    bool add, Strips<float> c) {
  using Tile = void (*)(const float*, Stride, Strips<const typename Source::Element>, int64_t,
                        int64_t, bool, Strips<float>);
  static constexpr auto kTiles = []<int... kIndex>(std::integer_sequence<int, kIndex...>) {
    return std::array<Tile, kMaxTileRows>{ComputeTile<kIndex + 1, Source, Stride>...};
  }
  (std::make_integer_sequence<int, kMaxTileRows>());

  const int64_t row_tiles = (rows + kMaxTileRows - 1) / kMaxTileRows;
  // A group of strips stays in the first-level cache while the rows pass by.
  for (int64_t first = 0; first < strips; first += kMaxTileStrips) {
    const int64_t last = std::min<int64_t>(first + kMaxTileStrips, strips);
    for (int64_t tile = 0; tile < row_tiles; ++tile) {
      const int64_t row = rows * tile / row_tiles;
      const int tile_rows = static_cast<int>(rows * (tile + 1) / row_tiles - row);
      for (int64_t p = first; p < last; p += TileStrips(tile_rows)) {
        kTiles[tile_rows - 1](a + row * a_stride, a_stride, b.From(0, p), last - p, depth, add,
                              c.From(row, p));
      }
    }
  }
}

// For operators whose B is fp32 too (retention): row-major or in strips, as the views say.
inline void MultiplyFloat32(const float* a, int64_t a_stride, int64_t rows, Strips<const float> b,
                            int64_t strips, int64_t depth, bool add, Strips<float> c) {
  MultiplyStrips<Float32Source, int64_t>(a, a_stride, rows, b, strips, depth, add, c);
}

}  // namespace HWY_NAMESPACE
}  // namespace retnet
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
