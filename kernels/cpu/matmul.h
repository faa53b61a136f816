// Matrix products with weights, y = x·Wᵀ, for every instruction set and element type.
#ifndef RETNET_KERNELS_CPU_MATMUL_H_
#define RETNET_KERNELS_CPU_MATMUL_H_

#include <cstdint>

#include "kernels/cpu/instruction_set.h"
#include "kernels/cpu/packed.h"
#include "kernels/tensor.h"

namespace retnet::cpu {

// Computes strips [first, first + count) of y = x·Wᵀ, or of y += x·Wᵀ if `add`. `out` is the view
// of these columns of y; the last strip may be cut off at the outputs of W. Each block of k is one
// chain of fused multiply-adds. An element is the sum of its blocks in ascending order, added to
// the old element of y if `add`. So its bits depend only on its row of x and its row of W. `x` and
// `weight` must have the factors and the element type that the function was made for.
using MatMul = void (*)(const PackedActivations& x, const PackedWeight& weight, int64_t first,
                        int64_t count, bool add, MatrixView<float> out);

struct MatMulOperators {
  MatMul float32 = nullptr;
  MatMul float16 = nullptr;
  MatMul bfloat16 = nullptr;
  // If true, `bfloat16` takes activations as pairs of bf16, rounded to nearest even. Otherwise all
  // functions take fp32 activations.
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
