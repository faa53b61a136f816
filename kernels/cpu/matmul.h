// The weights' products, y = x·Wᵀ, for every instruction set and element type.
#ifndef RETNET_KERNELS_CPU_MATMUL_H_
#define RETNET_KERNELS_CPU_MATMUL_H_

#include <cstdint>

#include "kernels/cpu/instruction_set.h"
#include "kernels/cpu/packed.h"
#include "kernels/tensor.h"

namespace retnet::cpu {

// Strips [first, first + count) of y = x·Wᵀ, or of y += x·Wᵀ when `add`. `out` views these strips'
// columns of y, as far as W has them. An element is the sum, in order, of one chain of fused
// multiply-adds for each block of k (then of y's element and those, in order): its bits depend on
// its row of x and its row of W alone. Reads the weight's type and the activations' factors that it
// was made for.
using MatMul = void (*)(const PackedActivations& x, const PackedWeight& weight, int64_t first,
                        int64_t count, bool add, MatrixView<float> out);

struct MatMulOperators {
  MatMul float32 = nullptr;
  MatMul float16 = nullptr;
  MatMul bfloat16 = nullptr;
  // Whether `bfloat16` takes activations as pairs of bf16, rounded to nearest even; else all take
  // fp32.
  bool bfloat16_pairs = false;

  MatMul For(ElementType type) const {
    return type == ElementType::kFloat32   ? float32
           : type == ElementType::kFloat16 ? float16
                                           : bfloat16;
  }
};

MatMulOperators MatMulOperatorsFor(InstructionSet set);

}  // namespace retnet::cpu

#endif  // RETNET_KERNELS_CPU_MATMUL_H_
