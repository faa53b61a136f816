// Products with Highway: C = A·B or C += A·B in fp32 over strips of 16 columns, with the one order
// of accumulation of tile_core-inl.h. Included once per target from a .cc with Highway code
// (targets-inl.h).
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
#include "kernels/cpu/packed.h"
#include "kernels/cpu/strips.h"

HWY_BEFORE_NAMESPACE();
namespace retnet::cpu {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

#include "kernels/cpu/tile_core-inl.h"

// What a Source needs but for Load, with fp32 factors.
struct Float32Arithmetic {
  using Tag = hn::CappedTag<float, kStripColumns>;
  using Factor = float;
  using Vector = hn::Vec<Tag>;
  using Row = Vector;
  static constexpr int kLanes = hn::MaxLanes(Tag());

  // As many accumulators as leave registers for B, and where rows are few at least as many as a
  // multiply-add's latency asks for.
#if HWY_TARGET == HWY_AVX3
  static constexpr int kMaxRows = 12;
  static constexpr int TileStrips(int rows) { return rows <= 6 ? 4 : 2; }
#elif HWY_TARGET == HWY_AVX2
  static constexpr int kMaxRows = 6;
  static constexpr int TileStrips(int rows) { return rows == 1 ? 4 : rows <= 2 ? 2 : 1; }
#else
  static constexpr int kMaxRows = 4;
  static constexpr int TileStrips(int rows) { return rows == 1 ? 2 : 1; }
#endif

  static HWY_INLINE Row Broadcast(const float* a) { return hn::Set(Tag(), *a); }
  static HWY_INLINE Vector Zero() { return hn::Zero(Tag()); }
  static HWY_INLINE void MultiplyAdd(Row a, Row b, Vector& sum) { sum = hn::MulAdd(a, b, sum); }
  static HWY_INLINE Vector LoadAdd(const float* c, Vector sum) {
    return hn::Add(hn::LoadU(Tag(), c), sum);
  }
  static HWY_INLINE void Store(Vector sum, float* c) { hn::StoreU(sum, Tag(), c); }
};

struct Float32Source : Float32Arithmetic {
  using Element = float;
  static constexpr int kDepth = 1;
  template <int kWhich>
  static HWY_INLINE Row Load(const float* row) {
    return hn::LoadU(Tag(), row);
  }
};

// For operators whose B is fp32 too (retention), row-major or in strips, as the views say.
inline void MultiplyFloat32(const float* a, int64_t a_stride, int64_t rows, Strips<const float> b,
                            int64_t strips, int64_t depth, bool add, Strips<float> c) {
  MultiplyStrips<Float32Source, int64_t>(a, a_stride, rows, b, strips, depth, add, c);
}

}  // namespace HWY_NAMESPACE
}  // namespace retnet::cpu
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
