#include "kernels/cpu/retention.h"

#include <algorithm>
#include <cstdint>
#include <span>

#include "kernels/ceil_divide.h"
#include "kernels/cpu/retention_vectors.h"

namespace retnet::cpu {
namespace {

int32_t PanelsOf(const CpuStates& states) { return CeilDivide(states.strips(), kPanelStrips); }

// Chooses the number of tasks ("blocks" of strips) that share the value columns of a group and kv
// head, so that threads finish at about the same time. It minimises the time of the last thread, in
// units of a task of the group with the most rows. Each additional block repeats the inner products
// of q and k, which cost kCostOfBlock.
int32_t BlocksOfStrips(const RetentionGroups& groups, const CpuStates& states, int32_t threads) {
  constexpr double kCostOfBlock = 0.08;
  int64_t all_rows = 0;
  int64_t most_rows = 1;
  for (int64_t group = 0; group < groups.size(); ++group) {
    int64_t rows = 0;
    for (RetentionSegment segment : groups[group]) {
      for (const RetentionPiece& piece : segment) rows += piece.rows;
    }
    all_rows += rows;
    most_rows = std::max(most_rows, rows);
  }
  const int64_t tasks = CeilDivide(all_rows, most_rows) * states.shape().kv_heads;
  int32_t best = 1;
  double best_time = static_cast<double>(CeilDivide(tasks, threads));
  for (int32_t blocks = 2; blocks <= std::min(PanelsOf(states), 4); ++blocks) {
    const int64_t rounds = CeilDivide(tasks * blocks, threads);
    const double time = static_cast<double>(rounds) / blocks * (1 + kCostOfBlock * (blocks - 1));
    if (time < best_time) {
      best = blocks;
      best_time = time;
    }
  }
  return best;
}

}  // namespace

void Retain(InstructionSet set, const RetentionInputs& inputs, CpuStates& states,
            MatrixView<float> out, ThreadPool& pool) {
  const RetentionVectors vectors = RetentionVectorsFor(set);
  const RowOperators row_operators = RowOperatorsFor(set);
  const RetentionGroups& groups = inputs.groups;
  const int32_t kv_heads = states.shape().kv_heads;
  const int64_t pairs = groups.size() * kv_heads;
  const auto task_of = [&](int64_t pair, int32_t first_strip, int32_t last_strip) {
    return RetentionTask{inputs,
                         row_operators,
                         states,
                         out,
                         groups[pair / kv_heads],
                         static_cast<int32_t>(pair % kv_heads),
                         first_strip,
                         last_strip};
  };
  const int32_t blocks = BlocksOfStrips(groups, states, pool.threads());
  pool.Run(pairs * blocks, [&](int64_t task, int32_t thread) {
    const int32_t block = static_cast<int32_t>(task % blocks);
    const int32_t first = PanelsOf(states) * block / blocks * kPanelStrips;
    const int32_t last = PanelsOf(states) * (block + 1) / blocks * kPanelStrips;
    vectors.retain(task_of(task / blocks, first, std::min(last, states.strips())),
                   states.Scratch(thread));
  });
  if (blocks == 1) return;
  pool.Run(pairs, [&](int64_t pair, int32_t thread) {
    vectors.finish(task_of(pair, 0, states.strips()), states.Scratch(thread));
  });
}

}  // namespace retnet::cpu
