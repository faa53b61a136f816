// Operators on single rows beside the products, for every instruction set. A row's result does not
// depend on where it lies.
#ifndef RETNET_KERNELS_CPU_ROWS_H_
#define RETNET_KERNELS_CPU_ROWS_H_

#include <cstdint>

#include "kernels/cpu/instruction_set.h"
#include "kernels/cpu/packed.h"
#include "kernels/kernels.h"

namespace retnet::cpu {

struct RowOperators {
  // y = RMSNorm(x), [columns]; y may be x.
  void (*normalize)(const float* x, int64_t columns, Norm norm, float* y);
  // Row `row` of a product's activations: x, or RMSNorm(x) when `norm` is given, [columns]; as
  // fp32, or as pairs of bf16 rounded to nearest even.
  void (*prepare_float32)(const float* x, int64_t columns, const Norm* norm,
                          const PackedActivations& to, int64_t row);
  void (*prepare_bfloat16_pairs)(const float* x, int64_t columns, const Norm* norm,
                                 const PackedActivations& to, int64_t row);
  // y = activation(gate) ⊙ up, [columns]; y may be either. Relative error of the activation below
  // 1e-6.
  void (*activate)(Activation activation, const float* gate, const float* up, int64_t columns,
                   float* y);
};

RowOperators RowOperatorsFor(InstructionSet set);

}  // namespace retnet::cpu

#endif  // RETNET_KERNELS_CPU_ROWS_H_
