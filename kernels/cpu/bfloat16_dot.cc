#include "kernels/cpu/bfloat16_dot.h"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <utility>

#if defined(__x86_64__)
#include <immintrin.h>

#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512vl,avx512bf16")
namespace retnet::cpu {
namespace avx512_bf16 {
#include "kernels/cpu/bfloat16_dot-inl.h"
}  // namespace avx512_bf16

void MultiplyBFloat16Pairs(const PackedActivations& x, const PackedWeight& weight, int64_t first,
                           int64_t count, bool add, MatrixView<float> out) {
  avx512_bf16::MultiplyWeight<avx512_bf16::BFloat16DotSource>(x, weight, first, count, add, out);
}

}  // namespace retnet::cpu
#pragma GCC pop_options

#else

namespace retnet::cpu {

void MultiplyBFloat16Pairs(const PackedActivations&, const PackedWeight&, int64_t, int64_t, bool,
                           MatrixView<float>) {
  std::abort();
}

}  // namespace retnet::cpu

#endif
