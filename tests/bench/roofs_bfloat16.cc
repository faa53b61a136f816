#include "tests/bench/roofs.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace retnet {

#if defined(__x86_64__)
__attribute__((target("avx512f,avx512bf16"))) double RunBFloat16Dots(int64_t steps) {
  constexpr int kChains = 24;
  const __m512bh a = (__m512bh)_mm512_set1_epi32(0x3F803F80);  // ones
  __m512 sums[kChains];
#pragma GCC unroll 24
  for (int i = 0; i < kChains; ++i) sums[i] = _mm512_setzero_ps();
  for (int64_t step = 0; step < steps; ++step) {
#pragma GCC unroll 24
    for (int i = 0; i < kChains; ++i) {
      sums[i] = _mm512_dpbf16_ps(sums[i], a, a);
      asm volatile("" : "+v"(sums[i]));
    }
  }
  return 64.0 * kChains * static_cast<double>(steps);
}
#else
double RunBFloat16Dots(int64_t) { return 0; }
#endif

}  // namespace retnet
