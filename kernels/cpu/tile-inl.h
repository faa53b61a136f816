// Matrix products with Highway: C = A·B or C += A·B in fp32 over strips of 16 columns, with the
// order of accumulation that tile_core-inl.h defines. Included once per target from a .cc with
// Highway code (targets-inl.h).
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

// The members of a Source with fp32 factors, except Load and what depends on the type of B.
struct Float32Arithmetic {
  using Tag = hn::CappedTag<float, kStripColumns>;
  using Factor = float;
  using Vector = hn::Vec<Tag>;
  using Row = Vector;
  static constexpr int kLanes = hn::MaxLanes(Tag());

  // The tile shapes leave enough registers for B. For few rows, they still have enough accumulators
  // to hide the latency of a multiply-add.
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

// C = A·B, or C += A·B if `add`, for operators whose B is fp32 (retention). B and C may be
// row-major or in strips.
inline void MultiplyFloat32(const float* a, int64_t a_stride, int64_t rows, Strips<const float> b,
                            int64_t strips, int64_t depth, bool add, Strips<float> c) {
  MultiplyStrips<Float32Source, int64_t>(a, a_stride, rows, b, strips, depth, add, c);
}

}  // namespace HWY_NAMESPACE
}  // namespace retnet::cpu
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
