// The register tiles of all matrix products on the CPU. They are templates over a Source, which
// holds the arithmetic of one instruction set and one type of B. This file has no include guard and
// no includes: tile-inl.h and bfloat16_dot-inl.h include it inside a namespace that is compiled for
// that instruction set.
//
// The order of accumulation is fixed. An element of A·B is one chain of fused multiply-adds that
// starts from zero and runs over ascending k. To add to C, the finished chain is added once. So the
// bits of an element depend only on its row of A and its column of B, not on the number of rows and
// columns.
//
//   struct Source {
//     using Factor;                 // an element of A
//     using Element;                // an element of B; a row of a strip has 16 of them
//     static constexpr int kDepth;  // values of k in one Element (2: a pair, split by Load)
//     static constexpr int kLanes;  // columns in one Row or Vector
//     static constexpr int kMaxRows;  // rows of A in a tile, at most
//     using Row;                    // kLanes columns of one k of B, as an operand
//     using Vector;                 // kLanes columns of C
//     static constexpr int TileStrips(int rows);  // strips of a tile that has `rows` rows of A
//     Row Load<which>(const Element* row);        // loads k = kDepth · row + which
//     Row Broadcast(const Factor* a);
//     Vector Zero();
//     Vector MultiplyAdd(Row a, Row b, Vector sum);
//     Vector LoadAdd(const float* c, Vector sum);
//     void Store(Vector sum, float* c);
//   };

// Computes rows [0, kRows) and strips [0, min(TileStrips(kRows), strips)) of C over the whole
// depth. Row i of A starts at a + i * a_stride. Stride is an integer type or an integral constant;
// the latter saves address registers.
template <int kRows, typename Source, typename Stride>
void ComputeTile(const typename Source::Factor* a, Stride a_stride,
                 Strips<const typename Source::Element> b, int64_t strips, int64_t depth, bool add,
                 Strips<float> c) {
  constexpr int kStrips = Source::TileStrips(kRows);
  constexpr int kStripVectors = kStripColumns / Source::kLanes;
  constexpr int kVectors = kStrips * kStripVectors;
  using Row = typename Source::Row;
  using Vector = typename Source::Vector;
  const typename Source::Element* strip[kStrips];
#pragma GCC unroll 16
  for (int s = 0; s < kStrips; ++s) {  // strips beyond the last one repeat it and are not stored
    strip[s] = b.strip(s < strips ? s : strips - 1);
  }
  Vector sum[kRows][kVectors];
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 16
    for (int v = 0; v < kVectors; ++v) sum[r][v] = Source::Zero();
  }
  const auto step = [&]<int kWhich>(std::integral_constant<int, kWhich>, int64_t k)
      __attribute__((always_inline)) {
    const auto load = [&](int v) __attribute__((always_inline)) {
      return Source::template Load<kWhich>(strip[v / kStripVectors] +
                                           k / Source::kDepth * b.row_stride +
                                           v % kStripVectors * Source::kLanes);
    };
    const auto broadcast = [&](int r) __attribute__((always_inline)) {
      return Source::Broadcast(a + r * a_stride + k);
    };
    // Keep in registers the operand (B or A) that has fewer vectors.
    if constexpr (kVectors <= kRows) {
      Row row[kVectors];
#pragma GCC unroll 16
      for (int v = 0; v < kVectors; ++v) row[v] = load(v);
#pragma GCC unroll 16
      for (int r = 0; r < kRows; ++r) {
        const Row factor = broadcast(r);
#pragma GCC unroll 16
        for (int v = 0; v < kVectors; ++v) Source::MultiplyAdd(factor, row[v], sum[r][v]);
      }
    } else {
      Row factor[kRows];
#pragma GCC unroll 16
      for (int r = 0; r < kRows; ++r) factor[r] = broadcast(r);
#pragma GCC unroll 16
      for (int v = 0; v < kVectors; ++v) {
        const Row row = load(v);
#pragma GCC unroll 16
        for (int r = 0; r < kRows; ++r) Source::MultiplyAdd(factor[r], row, sum[r][v]);
      }
    }
  };
  constexpr std::integral_constant<int, 0> kFirst;
  constexpr std::integral_constant<int, Source::kDepth - 1> kLast;
  int64_t k = 0;
  for (; k + 2 <= depth; k += 2) {
    step(kFirst, k);
    step(kLast, k + 1);
  }
  if (k < depth) step(kFirst, k);

#pragma GCC unroll 16
  for (int s = 0; s < kStrips; ++s) {
    if (s >= strips) break;
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) {
      float* out = c.strip(s) + r * c.row_stride;
#pragma GCC unroll 16
      for (int v = 0; v < kStripVectors; ++v) {
        float* to = out + v * Source::kLanes;
        const Vector value = sum[r][s * kStripVectors + v];
        Source::Store(add ? Source::LoadAdd(to, value) : value, to);
      }
    }
  }
}

// C = A·B, or C += A·B if `add`, for any number of rows and whole strips. A is [rows, depth] with
// a_stride as above, B is [depth, 16 · strips], C is [rows, 16 · strips]. C must not overlap A or
// B.
template <typename Source, typename Stride>
void MultiplyStrips(const typename Source::Factor* a, Stride a_stride, int64_t rows,
                    Strips<const typename Source::Element> b, int64_t strips, int64_t depth,
                    bool add, Strips<float> c) {
  constexpr int kMaxRows = Source::kMaxRows;
  constexpr int kMaxStrips = Source::TileStrips(1);
  using Tile = decltype(&ComputeTile<1, Source, Stride>);
  static constexpr auto kTiles = []<int... kIndex>(std::integer_sequence<int, kIndex...>) {
    return std::array<Tile, kMaxRows>{ComputeTile<kIndex + 1, Source, Stride>...};
  }
  (std::make_integer_sequence<int, kMaxRows>());

  const int64_t row_tiles = (rows + kMaxRows - 1) / kMaxRows;
  // A tile of rows stays in the first-level cache while a group of strips passes. The group stays
  // in the second-level cache for all tiles.
  for (int64_t first = 0; first < strips; first += kMaxStrips) {
    const int64_t last = std::min<int64_t>(first + kMaxStrips, strips);
    for (int64_t tile = 0; tile < row_tiles; ++tile) {
      const int64_t row = rows * tile / row_tiles;
      const int tile_rows = static_cast<int>(rows * (tile + 1) / row_tiles - row);
      for (int64_t s = first; s < last; s += Source::TileStrips(tile_rows)) {
        kTiles[tile_rows - 1](a + row * a_stride, a_stride, b.From(0, s), last - s, depth, add,
                              c.From(row, s));
      }
    }
  }
}

// A MatMul (matmul.h): strips [first, first + count) of y = x·Wᵀ, or of y += x·Wᵀ if `add`. It goes
// over k block by block. An element of y is the sum of one chain per block, in ascending order.
template <typename Source>
void MultiplyWeight(const PackedActivations& x, const PackedWeight& weight, int64_t first,
                    int64_t count, bool add, MatrixView<float> out) {
  using Element = typename Source::Element;
  constexpr std::integral_constant<int64_t, kBlockStride> kStride;
  const Strips<const Element> strips = weight.strips<Element>().From(0, first);
  const auto multiply_blocks = [&](int64_t row, int64_t rows, int64_t strip, int64_t strip_count,
                                   Strips<float> c) {
    for (int64_t k = 0; k < x.depth(); k += kBlockDepth) {
      MultiplyStrips<Source>(x.block<typename Source::Factor>(k / kBlockDepth) + row * kBlockStride,
                             kStride, rows, strips.From(k / Source::kDepth, strip), strip_count,
                             std::min(kBlockDepth, x.depth() - k), add || k > 0, c);
    }
  };
  const int64_t whole = std::min(count, out.columns / kStripColumns);
  // With few rows, the weight is streamed in memory order. With more rows, a block of activations
  // is reused for a group of strips.
  const int64_t group = out.rows <= Source::kMaxRows ? Source::TileStrips(1) : kGroupStrips;
  for (int64_t strip = 0; strip < whole; strip += group) {
    multiply_blocks(0, out.rows, strip, std::min(group, whole - strip),
                    {out.data + strip * kStripColumns, out.stride, kStripColumns});
  }
  if (whole == count) return;
  // The last strip is wider than the rest of `out`: compute it in a buffer.
  const int64_t columns = out.columns - whole * kStripColumns;
  for (int64_t row = 0; row < out.rows; row += Source::kMaxRows) {
    const int64_t rows = std::min<int64_t>(Source::kMaxRows, out.rows - row);
    float strip[Source::kMaxRows * kStripColumns] = {};
    for (int64_t r = 0; add && r < rows; ++r) {
      std::copy_n(out.row(row + r) + whole * kStripColumns, columns, strip + r * kStripColumns);
    }
    multiply_blocks(row, rows, whole, 1, {strip, kStripColumns, kStripColumns});
    for (int64_t r = 0; r < rows; ++r) {
      std::copy_n(strip + r * kStripColumns, columns, out.row(row + r) + whole * kStripColumns);
    }
  }
}
