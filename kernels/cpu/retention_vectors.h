// The single-threaded parts of Retention, compiled for each instruction set.
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

// A task: one group of segments, the query heads of one kv head, and the value columns of strips
// [first_strip, last_strip). If tasks share the strips of a group and kv head, none of them applies
// the norm or writes the tail's keys, which the others still read. `finish` does that.
struct RetentionTask {
  const RetentionInputs& inputs;
  const RowOperators& row_operators;
  const CpuStates& states;
  MatrixView<float> out;
  std::span<const RetentionSegment> group;  // if several, each has one piece
  int32_t kv_head;
  int32_t first_strip;
  int32_t last_strip;

  bool has_all_strips() const { return last_strip - first_strip == states.strips(); }
};

struct RetentionVectors {
  void (*retain)(const RetentionTask& task, const RetentionScratch& scratch);
  // Called when all strips of a group and kv head are done, if several tasks shared them.
  void (*finish)(const RetentionTask& task, const RetentionScratch& scratch);
};

RetentionVectors RetentionVectorsFor(InstructionSet set);

}  // namespace retnet::cpu

#endif  // RETNET_KERNELS_CPU_RETENTION_VECTORS_H_
