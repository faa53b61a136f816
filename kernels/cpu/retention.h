// The operator Retention of the concept Kernels on the CPU.
#ifndef RETNET_KERNELS_CPU_RETENTION_H_
#define RETNET_KERNELS_CPU_RETENTION_H_

#include <cstdint>

#include "kernels/cpu/instruction_set.h"
#include "kernels/cpu/retention_groups.h"
#include "kernels/cpu/states.h"
#include "kernels/cpu/thread_pool.h"
#include "kernels/kernels.h"
#include "kernels/tensor.h"

namespace retnet::cpu {

// The inputs of one call. The views must live until it returns.
struct RetentionInputs {
  int32_t layer = 0;
  const RetentionGroups& groups;        // the segments of the call
  MatrixView<const float> projections;  // [rows, shape.ProjectionColumns()]
  MatrixView<const float> cosines;      // [rows, key_dim / 2]
  MatrixView<const float> sines;        // [rows, key_dim / 2]
  MatrixView<const float> decay_sums;   // [rows, heads]; no columns: not normalized
  Norm norm;
};

// Writes out [rows, shape.OutputColumns()] and updates the states. Every sum is one chain of fused
// multiply-adds in ascending order, whether its row is alone or in a piece of 64 rows. The sum over
// the tail is added to the term of the base once. So the bits of a row do not depend on pieces,
// groups, other rows, threads or slots.
void Retain(InstructionSet set, const RetentionInputs& inputs, CpuStates& states,
            MatrixView<float> out, ThreadPool& pool);

}  // namespace retnet::cpu

#endif  // RETNET_KERNELS_CPU_RETENTION_H_
