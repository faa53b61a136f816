#include "kernels/cpu/retention_vectors.h"

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "kernels/cpu/targets-inl.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/retention_vectors.cc"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
// After foreach_target.h:
#include "hwy/highway.h"
#include "kernels/cpu/tile-inl.h"

HWY_BEFORE_NAMESPACE();
namespace retnet::cpu {
namespace HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;

// Calls body(d, i) for vectors that cover [0, size). Whole vectors come first, then single lanes.
template <typename Body>
HWY_INLINE void ForVectors(int64_t size, const Body& body) {
  const hn::ScalableTag<float> d;
  const int64_t lanes = hn::Lanes(d);
  int64_t i = 0;
  for (; i + lanes <= size; i += lanes) body(d, i);
  for (; i < size; ++i) body(hn::CappedTag<float, 1>(), i);
}

// y = scale · x.
void Scale(const float* x, float scale, int64_t size, float* y) {
  ForVectors(size, [&](auto d, int64_t i) HWY_ATTR {
    hn::StoreU(hn::Mul(hn::LoadU(d, x + i), hn::Set(d, scale)), d, y + i);
  });
}

// y = x ⊙ weights.
void Weigh(const float* x, const float* weights, int64_t size, float* y) {
  ForVectors(size, [&](auto d, int64_t i) HWY_ATTR {
    hn::StoreU(hn::Mul(hn::LoadU(d, x + i), hn::LoadU(d, weights + i)), d, y + i);
  });
}

// y = scale · R_n x, the rotation of pairs (x_i, x_{i + pairs}) by the angles of position n.
void RotateRow(const float* x, const float* cosines, const float* sines, int64_t pairs, float scale,
               float* y) {
  ForVectors(pairs, [&](auto d, int64_t i) HWY_ATTR {
    const auto a = hn::LoadU(d, x + i);
    const auto b = hn::LoadU(d, x + pairs + i);
    const auto cosine = hn::LoadU(d, cosines + i);
    const auto sine = hn::LoadU(d, sines + i);
    const auto factor = hn::Set(d, scale);
    const auto first = hn::NegMulAdd(b, sine, hn::Mul(a, cosine));
    const auto second = hn::MulAdd(a, sine, hn::Mul(b, cosine));
    hn::StoreU(hn::Mul(first, factor), d, y + i);
    hn::StoreU(hn::Mul(second, factor), d, y + pairs + i);
  });
}

// Rotates the k of a piece and writes them as columns of `keys` [key_dim, kChunk]. `rotated` is
// scratch of [kChunk, key_dim].
void AppendKeys(const RetentionTask& task, const RetentionPiece& piece, float* rotated,
                Strips<float> keys) {
  const RetentionShape& shape = task.states.shape();
  const int64_t key_dim = shape.key_dim;
  const int64_t column = (shape.heads + task.kv_head) * key_dim;
  for (int32_t i = 0; i < piece.rows; ++i) {
    const int64_t row = piece.first_row + i;
    RotateRow(task.inputs.projections.row(row) + column, task.inputs.cosines.row(row),
              task.inputs.sines.row(row), key_dim / 2, /*scale=*/1.0f, rotated + i * key_dim);
  }
  // Blocks of one cache line: a line of `rotated` stays cached until all of it is used.
  constexpr int64_t kBlock = kCacheLine / sizeof(float);
  for (int64_t first = 0; first < key_dim; first += kBlock) {
    for (int64_t i = 0; i < piece.rows; ++i) {
      const int64_t token = piece.tail + i;
      float* column = keys.strip(token / kStripColumns) + token % kStripColumns;
      for (int64_t k = first; k < std::min(first + kBlock, key_dim); ++k) {
        column[k * kStripColumns] = rotated[i * key_dim + k];
      }
    }
  }
}

// Copies the v of a piece to the tail, for the strips of the task.
void AppendValues(const RetentionTask& task, const RetentionPiece& piece, Panels<float> values) {
  const RetentionShape& shape = task.states.shape();
  const int64_t first_column = int64_t{shape.heads + shape.kv_heads} * shape.key_dim +
                               int64_t{task.kv_head} * shape.value_dim;
  for (int32_t i = 0; i < piece.rows; ++i) {
    const float* from = task.inputs.projections.row(piece.first_row + i) + first_column;
    for (int32_t strip = task.first_strip; strip < task.last_strip; ++strip) {
      const int64_t column = strip * kStripColumns;
      const int64_t used = std::min<int64_t>(kStripColumns, shape.value_dim - column);
      float* row = values.row(piece.tail + i, strip);
      ForVectors(used, [&](auto d, int64_t j)
                           HWY_ATTR { hn::StoreU(hn::LoadU(d, from + column + j), d, row + j); });
      std::fill(row + used, row + kStripColumns, 0.0f);
    }
  }
}

// base[piece.base] = γ^C base[piece.fold_source] + Σ_j γ^(C−1−j) k_jᵀ v_j.
void Fold(const RetentionTask& task, const RetentionPiece& piece, int32_t head,
          Strips<const float> keys, Panels<float> values, float* decayed_keys) {
  const CpuStates& states = task.states;
  const int64_t key_dim = states.shape().key_dim;
  const float* decays = states.Decays(head);
  const bool has_source = piece.fold_source != kZeroBase;
  for (int64_t k = 0; k < key_dim; ++k) {
    for (int64_t token = 0; token < kChunk; token += kStripColumns) {
      Weigh(keys.From(k, token / kStripColumns).data, decays + 1 + token, kStripColumns,
            decayed_keys + k * kChunk + token);
    }
  }
  const Panels<float> target = states.Base(piece.base, task.inputs.layer, head);
  for (int32_t strip = task.first_strip; strip < task.last_strip; strip += kPanelStrips) {
    const int32_t strips = target.width(strip);
    if (has_source) {
      const Panels<float> source = states.Base(piece.fold_source, task.inputs.layer, head);
      Scale(source.panel(strip).data, decays[0], key_dim * strips * kStripColumns,
            target.panel(strip).data);
    }
    MultiplyFloat32(decayed_keys, kChunk, key_dim, values.panel(strip), strips, kChunk,
                    /*add=*/has_source, target.panel(strip));
  }
}

// Rotates and scales the q of a piece, and multiplies a copy by γ^(t+1) for the base. Writes to
// rows of scratch from `row` on.
void MakeQueries(const RetentionTask& task, const RetentionPiece& piece, int32_t head, int32_t row,
                 const RetentionScratch& scratch) {
  const int64_t key_dim = task.states.shape().key_dim;
  const float* decays = task.states.Decays(head);
  const float query_scale = static_cast<float>(1 / std::sqrt(key_dim));
  for (int32_t i = 0; i < piece.rows; ++i) {
    const int64_t input = piece.first_row + i;
    float* query = scratch.queries + (row + i) * key_dim;
    RotateRow(task.inputs.projections.row(input) + head * key_dim, task.inputs.cosines.row(input),
              task.inputs.sines.row(input), key_dim / 2, query_scale, query);
    if (piece.base != kZeroBase) {
      const float decay = decays[kChunk - 1 - (piece.tail + i)];  // γ^(t+1)
      Scale(query, decay, key_dim, scratch.decayed_queries + (row + i) * key_dim);
    }
  }
}

Strips<float> Outputs(const RetentionScratch& scratch) {
  return {scratch.outputs, scratch.output_stride, kStripColumns};
}

// scratch.outputs [rows] = the term of the base. Does nothing for kZeroBase, whose term is zero.
void ReadBase(const RetentionTask& task, int32_t base, int32_t head, int32_t rows,
              const RetentionScratch& scratch) {
  if (base == kZeroBase) return;
  const int64_t key_dim = task.states.shape().key_dim;
  const Panels<float> matrix = task.states.Base(base, task.inputs.layer, head);
  for (int32_t strip = task.first_strip; strip < task.last_strip; strip += kPanelStrips) {
    MultiplyFloat32(scratch.decayed_queries, key_dim, rows, matrix.panel(strip),
                    matrix.width(strip), key_dim, /*add=*/false,
                    Outputs(scratch).From(0, strip - task.first_strip));
  }
}

// Adds the sum over the tail, j ascending, to the term of the base. The rows of the piece are rows
// of scratch from `row` on. Without a base, the sum replaces the old contents.
void ReadTail(const RetentionTask& task, const RetentionPiece& piece, int32_t head, int32_t row,
              Strips<const float> keys, Panels<float> values, const RetentionScratch& scratch) {
  const int64_t key_dim = task.states.shape().key_dim;
  const float* decays = task.states.Decays(head);
  MultiplyFloat32(scratch.queries + row * key_dim, key_dim, piece.rows, keys,
                  StripsOf(piece.tail + piece.rows), key_dim, /*add=*/false,
                  {scratch.weights, kChunk, kStripColumns});
  for (int32_t i = 0; i < piece.rows; ++i) {
    const int32_t tokens = piece.tail + i + 1;
    float* weights = scratch.weights + i * kChunk;
    Weigh(weights, decays + kChunk + 1 - tokens, tokens, weights);
    for (int32_t strip = task.first_strip; strip < task.last_strip; strip += kPanelStrips) {
      MultiplyFloat32(weights, kChunk, /*rows=*/1, values.panel(strip), values.width(strip), tokens,
                      /*add=*/piece.base != kZeroBase,
                      Outputs(scratch).From(row + i, strip - task.first_strip));
    }
  }
}

// y = RMSNorm(x) over the columns of a head, times silu(gate) if the shape is gated. y may be x.
void NormAndGate(const RetentionTask& task, int64_t row, int32_t head, const float* x, float* y) {
  const RetentionShape& shape = task.states.shape();
  const MatrixView<const float>& decay_sums = task.inputs.decay_sums;
  Norm norm = task.inputs.norm;
  if (decay_sums.columns > 0) norm.epsilon *= decay_sums.row(row)[head];
  task.row_operators.normalize(x, shape.value_dim, norm, y);
  if (!shape.gated) return;
  const float* gate = task.inputs.projections.row(row) + shape.ProjectionColumns() -
                      shape.OutputColumns() + int64_t{head} * shape.value_dim;
  task.row_operators.activate(Activation::kSilu, gate, y, shape.value_dim, y);
}

// Writes the rows of the piece from scratch, from `row` on, to `out`. Applies norm and gate if the
// task has all strips.
void WriteRows(const RetentionTask& task, const RetentionPiece& piece, int32_t head, int32_t row,
               const RetentionScratch& scratch) {
  const RetentionShape& shape = task.states.shape();
  const int64_t first_column = task.first_strip * kStripColumns;
  const int64_t columns =
      std::min<int64_t>(task.last_strip * kStripColumns, shape.value_dim) - first_column;
  for (int32_t i = 0; i < piece.rows; ++i) {
    const int64_t output = piece.first_row + i;
    const float* from = scratch.outputs + (row + i) * scratch.output_stride;
    float* out = task.out.row(output) + int64_t{head} * shape.value_dim + first_column;
    if (task.has_all_strips()) {
      NormAndGate(task, output, head, from, out);
    } else {
      std::copy_n(from, columns, out);
    }
  }
}

// The keys that a task may write: the tail itself, or a copy in `memory` if other tasks read the
// tail.
Strips<float> WritableKeys(const RetentionTask& task, const RetentionPiece& first, float* memory) {
  const Strips<float> keys = task.states.TailKeys(first.slot, task.inputs.layer, task.kv_head);
  if (task.has_all_strips()) return keys;
  const Strips<float> copy = task.states.KeysAt(memory);
  task.states.CopyKeys(keys, first.folds ? kChunk : first.tail, copy);
  return copy;
}

struct HeadRange {
  int32_t first, last;
};

HeadRange QueryHeads(const RetentionTask& task) {
  const int32_t heads = task.states.shape().heads / task.states.shape().kv_heads;
  return {task.kv_head * heads, (task.kv_head + 1) * heads};
}

void RetainSegment(const RetentionTask& task, RetentionSegment segment,
                   const RetentionScratch& scratch) {
  if (segment.empty()) return;
  const RetentionPiece& first = segment.front();
  const HeadRange heads = QueryHeads(task);
  const Strips<float> keys = WritableKeys(task, first, scratch.keys);
  const Panels<float> values = task.states.TailValues(first.slot, task.inputs.layer, task.kv_head);
  for (const RetentionPiece& piece : segment) {
    for (int32_t head = heads.first; piece.folds && head < heads.last; ++head) {
      Fold(task, piece, head, keys, values, scratch.decayed_keys);
    }
    AppendKeys(task, piece, scratch.decayed_keys, keys);
    AppendValues(task, piece, values);
    for (int32_t head = heads.first; head < heads.last; ++head) {
      MakeQueries(task, piece, head, /*row=*/0, scratch);
      ReadBase(task, piece.base, head, piece.rows, scratch);
      ReadTail(task, piece, head, /*row=*/0, keys, values, scratch);
      WriteRows(task, piece, head, /*row=*/0, scratch);
    }
  }
}

// Multiplies the rows of all segments by the base at once, then each segment by its own tail. The
// first query head of a kv head appends k and v; the other heads write the same values again.
void RetainTogether(const RetentionTask& task, const RetentionScratch& scratch) {
  const HeadRange heads = QueryHeads(task);
  for (int32_t head = heads.first; head < heads.last; ++head) {
    int32_t rows = 0;
    for (const RetentionSegment& segment : task.group) {
      MakeQueries(task, segment.front(), head, rows, scratch);
      rows += segment.front().rows;
    }
    ReadBase(task, task.group.front().front().base, head, rows, scratch);
    int32_t row = 0;
    for (const RetentionSegment& segment : task.group) {
      const RetentionPiece& piece = segment.front();
      const Strips<float> keys = WritableKeys(task, piece, scratch.keys);
      const Panels<float> values =
          task.states.TailValues(piece.slot, task.inputs.layer, task.kv_head);
      AppendKeys(task, piece, scratch.decayed_keys, keys);
      AppendValues(task, piece, values);
      ReadTail(task, piece, head, row, keys, values, scratch);
      WriteRows(task, piece, head, row, scratch);
      row += piece.rows;
    }
  }
}

void RetainTask(const RetentionTask& task, const RetentionScratch& scratch) {
  if (task.group.size() > 1) return RetainTogether(task, scratch);
  RetainSegment(task, task.group.front(), scratch);
}

void FinishTask(const RetentionTask& task, const RetentionScratch& scratch) {
  const HeadRange heads = QueryHeads(task);
  for (const RetentionSegment& segment : task.group) {
    for (const RetentionPiece& piece : segment) {
      for (int32_t i = 0; i < piece.rows; ++i) {
        const int64_t row = piece.first_row + i;
        for (int32_t head = heads.first; head < heads.last; ++head) {
          float* out = task.out.row(row) + int64_t{head} * task.states.shape().value_dim;
          NormAndGate(task, row, head, out, out);
        }
      }
    }
    if (segment.empty()) continue;
    const RetentionPiece& last = segment.back();
    AppendKeys(task, last, scratch.decayed_keys,
               task.states.TailKeys(last.slot, task.inputs.layer, task.kv_head));
  }
}

RetentionVectors MakeRetentionVectors() { return {RetainTask, FinishTask}; }

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace retnet::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace retnet::cpu {

RetentionVectors RetentionVectorsFor(InstructionSet set) {
  return RETNET_FOR_INSTRUCTION_SET(set, MakeRetentionVectors);
}

}  // namespace retnet::cpu
#endif
