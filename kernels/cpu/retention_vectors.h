// The parts of Retention that run on one thread, compiled for each instruction set.
#ifndef RETNET_KERNELS_CPU_RETENTION_VECTORS_H_
#define RETNET_KERNELS_CPU_RETENTION_VECTORS_H_

#include <cstdint>
#include <span>

#include "kernels/cpu/instruction_set.h"
#include "kernels/cpu/retention.h"
#include "kernels/cpu/rows.h"
#include "kernels/cpu/states.h"
#include "kernels/kernels.h"
#include "kernels/tensor.h"

namespace retnet::cpu {

// The query heads of one kv head in one group of segments, and of their value columns the strips
// [first_strip, last_strip). Tasks with some of the strips leave the norm and the tail's keys,
// which all of them read, to Finish.
struct RetentionTask {
  const RetentionInputs& inputs;
  const RowOperators& row_operators;
  const CpuStates& states;
  MatrixView<float> out;
  std::span<const RetentionSegment> group;  // several, where they are of one piece
  int32_t kv_head;
  int32_t first_strip;
  int32_t last_strip;

  bool has_all_strips() const { return last_strip - first_strip == states.strips(); }
};

struct RetentionVectors {
  void (*retain)(const RetentionTask& task, const RetentionScratch& scratch);
  // Once all strips of a group and kv head are done, for tasks that had some of them each.
  void (*finish)(const RetentionTask& task, const RetentionScratch& scratch);
};

RetentionVectors RetentionVectorsFor(InstructionSet set);

}  // namespace retnet::cpu

#endif  // RETNET_KERNELS_CPU_RETENTION_VECTORS_H_
