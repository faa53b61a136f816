// Operators on single rows, other than matrix products, for every instruction set. The result of a
// row does not depend on its address.
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
  // Writes row `row` of the activations of a matrix product: x [columns], or RMSNorm(x) if `norm`
  // is not null; as fp32, or as pairs of bf16 rounded to nearest even.
  void (*prepare_float32)(const float* x, int64_t columns, const Norm* norm,
                          const PackedActivations& to, int64_t row);
  void (*prepare_bfloat16_pairs)(const float* x, int64_t columns, const Norm* norm,
                                 const PackedActivations& to, int64_t row);
  // y = activation(gate) ⊙ up, [columns]; y may be gate or up. The relative error of the activation
  // is below 1e-6.
  void (*activate)(Activation activation, const float* gate, const float* up, int64_t columns,
                   float* y);
};

RowOperators RowOperatorsFor(InstructionSet set);

}  // namespace retnet::cpu

#endif  // RETNET_KERNELS_CPU_ROWS_H_
