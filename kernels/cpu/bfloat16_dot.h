// The matrix product with VDPBF16PS. Highway 1.0.3 has no such instruction.
#ifndef RETNET_KERNELS_CPU_BFLOAT16_DOT_H_
#define RETNET_KERNELS_CPU_BFLOAT16_DOT_H_

#include <cstdint>

#include "kernels/cpu/packed.h"
#include "kernels/tensor.h"

namespace retnet::cpu {

// A MatMul (matmul.h) for bf16 weights and activations in pairs of bf16. Each step of its chain
// adds both terms of a pair of k. The processor must have AVX512_BF16 (and F, BW, VL). The
// instruction treats subnormal operands as zero and flushes subnormal sums to zero. Aborts on
// architectures other than x86, where no instruction set offers it.
void MultiplyBFloat16Pairs(const PackedActivations& x, const PackedWeight& weight, int64_t first,
                           int64_t count, bool add, MatrixView<float> out);

}  // namespace retnet::cpu

#endif  // RETNET_KERNELS_CPU_BFLOAT16_DOT_H_
