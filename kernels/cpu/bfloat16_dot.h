// The product with VDPBF16PS, which Highway 1.0.3 cannot express.
#ifndef RETNET_KERNELS_CPU_BFLOAT16_DOT_H_
#define RETNET_KERNELS_CPU_BFLOAT16_DOT_H_

#include <cstdint>

#include "kernels/cpu/packed.h"
#include "kernels/tensor.h"

namespace retnet::cpu {

// A Product (product.h) of bf16 weights and activations in pairs of bf16: its chain adds, for each
// pair of k, both terms. The processor must have AVX512_BF16 (and F, BW, VL); it takes subnormal
// operands as zero and makes subnormal sums zero. Dies on other architectures than x86: never
// offered there.
void MultiplyBFloat16Pairs(const PackedActivations& x, const PackedWeight& weight, int64_t first,
                           int64_t count, bool add, MatrixView<float> out);

}  // namespace retnet::cpu

#endif  // RETNET_KERNELS_CPU_BFLOAT16_DOT_H_
