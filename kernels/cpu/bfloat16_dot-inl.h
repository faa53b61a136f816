// The Source (tile_core-inl.h) that multiplies pairs of bf16 with VDPBF16PS. Before including this
// file, include <immintrin.h>, or SIMDe with native names, and open a namespace whose code may use
// AVX512_BF16.

#include "kernels/cpu/tile_core-inl.h"

struct BFloat16DotSource {
  using Factor = uint32_t;
  using Element = uint32_t;
  static constexpr int kDepth = 1;  // pairs
  using Row = __m512i;
  using Vector = __m512;
  static constexpr int kLanes = 16;
  static constexpr int kMaxRows = 12;
  static constexpr int TileStrips(int rows) { return rows <= 6 ? 4 : 2; }

  template <int kWhich>
  static inline Row Load(const uint32_t* row) {
    return _mm512_loadu_si512(row);
  }
  static inline Row Broadcast(const uint32_t* a) { return _mm512_set1_epi32(static_cast<int>(*a)); }
  static inline Vector Zero() { return _mm512_setzero_ps(); }
  static inline void MultiplyAdd(Row a, Row b, Vector& sum) {
    sum = _mm512_dpbf16_ps(sum, (__m512bh)a, (__m512bh)b);
  }
  static inline Vector LoadAdd(const float* c, Vector sum) {
    return _mm512_add_ps(_mm512_loadu_ps(c), sum);
  }
  static inline void Store(Vector sum, float* c) { _mm512_storeu_ps(c, sum); }
};
