#include "tests/kernels/cuda/retention/retention_traffic.h"

#include <set>
#include <vector>

#include "gtest/gtest.h"
#include "kernels/cuda/retention/decode.h"
#include "kernels/cuda/retention/prefill.h"
#include "tests/kernels/cuda/recorded_launches.h"

namespace retnet::cuda {
namespace {

constexpr int64_t kFloat = 4;
constexpr int64_t kTail = 2;

int64_t BaseBytes(const RetentionShape& shape) {
  return int64_t{shape.heads} * shape.key_dim * shape.value_dim *
         static_cast<int64_t>(SizeOf(shape.base_type));
}
int64_t TailTokenBytes(const RetentionShape& shape) {
  return int64_t{shape.kv_heads} * (shape.key_dim + shape.value_dim) * kTail;
}
int64_t AngleBytes(const RetentionShape& shape) { return shape.key_dim * kFloat; }

// Head norm and gate of a row: the retained row `reads` times, gate, weight, the result.
int64_t NormBytes(const RetentionShape& shape, int32_t reads) {
  return shape.OutputColumns() * kFloat * (reads + (shape.gated ? 3 : 2));
}
// Appending a row to a tail: k with its angles, and v.
int64_t AppendBytes(const RetentionShape& shape) {
  return int64_t{shape.kv_heads} *
             ((shape.key_dim + shape.value_dim) * kFloat + AngleBytes(shape)) +
         TailTokenBytes(shape);
}

// The bytes that a decode row requests in addition to its base, with `blocks` blocks per head.
int64_t DecodeRowBytes(const RetentionShape& shape, int64_t blocks, int64_t tail) {
  const int64_t rotated = shape.key_dim * kFloat + AngleBytes(shape);  // a q or k
  const int64_t keys = rotated + tail * shape.key_dim * kTail;
  const int64_t exchanged = blocks > 1 ? (blocks * (tail + 1) + kChunk) * kFloat : 0;
  const int64_t values = (tail * kTail + kFloat) * shape.OutputColumns();
  return shape.heads * (blocks * rotated + keys + exchanged) + values +
         shape.OutputColumns() * kFloat + NormBytes(shape, /*reads=*/2) + AppendBytes(shape);
}

// A view without memory: launches are recorded, not run. The sizes of `shape` must be multiples of
// the vectors, so that nothing is padded.
StatesView StatesOf(const RetentionShape& shape) {
  StatesView states;
  states.shape = shape;
  states.padded_key_dim = shape.key_dim;
  states.padded_value_dim = shape.value_dim;
  return states;
}

}  // namespace

int64_t BlocksOfDecodedHead(const RetentionShape& shape, const RetentionExtent& extent) {
  const std::vector<dim3> grids = RecordedGrids([&] {
    return RetentionDecode(DecodeSegments{}, extent, /*piece=*/0, RetentionInputs{},
                           StatesOf(shape), MatrixView<float>(), cudaStream_t{nullptr});
  });
  EXPECT_EQ(grids.size(), 1);
  EXPECT_EQ(grids.at(0).y, shape.heads);
  return grids.at(0).x / extent.segments;
}

RetentionTraffic DecodeTraffic(const RetentionShape& shape, const HostPlan& plan) {
  const int64_t columns = shape.ProjectionColumns() + shape.OutputColumns();
  const int64_t blocks = BlocksOfDecodedHead(shape, plan.sampled);
  RetentionTraffic traffic;
  std::set<int32_t> bases;
  for (int32_t segment = 0; segment < plan.sampled.segments; ++segment) {
    if (plan.readers[segment] > 0) traffic.requested += BaseBytes(shape);
    for (int32_t i = plan.starts[segment]; i < plan.starts[segment + 1]; ++i) {
      const RetentionPiece& piece = plan.pieces[i];
      bases.insert(piece.base);
      traffic.floor +=
          (piece.tail + 1) * TailTokenBytes(shape) + columns * kFloat + AngleBytes(shape);
      traffic.requested += DecodeRowBytes(shape, blocks, piece.tail);
    }
  }
  traffic.floor += static_cast<int64_t>(bases.size()) * BaseBytes(shape);
  return traffic;
}

RetentionTraffic PromptTraffic(const RetentionShape& shape, int32_t rows) {
  const RetentionExtent extent{.segments = 1, .pieces = rows / kChunk, .rows = kChunk};
  const std::vector<dim3> grids = RecordedGrids([&] {
    return RetentionPrefill({nullptr, nullptr, RetentionInputs{}, StatesOf(shape), {}}, extent,
                            /*stream=*/nullptr);
  });
  EXPECT_EQ(grids.size(), 4);  // PrepareTokens, WeighRows, RetainRows, FinishRows
  const int64_t weighing_blocks = grids.at(1).y;                 // of a piece
  const int64_t walking_blocks = grids.at(2).y * grids.at(2).z;  // of the segment
  RetentionTraffic traffic;
  traffic.floor =
      2 * BaseBytes(shape) +
      rows * ((shape.ProjectionColumns() + shape.OutputColumns()) * kFloat + AngleBytes(shape));
  const int64_t key_columns = int64_t{shape.heads + shape.kv_heads} * shape.key_dim;
  const int64_t value_columns = int64_t{shape.kv_heads} * shape.value_dim;
  const int64_t prepared = (key_columns + value_columns) * (kFloat + kTail) +
                           (shape.heads + shape.kv_heads) * AngleBytes(shape);
  // The q of a head, and the k of the whole chunk once per chunk.
  const int64_t head_row = 2 * shape.key_dim * kTail;
  const int64_t weights = kChunk * kTail;
  const int64_t weighed = weighing_blocks * (head_row + weights);
  const int64_t retained =
      walking_blocks * (head_row + weights) + shape.OutputColumns() * (kTail + kFloat);
  traffic.requested = 2 * BaseBytes(shape) +
                      rows * (prepared + weighed + retained + NormBytes(shape, /*reads=*/1)) +
                      kChunk * AppendBytes(shape);
  return traffic;
}

}  // namespace retnet::cuda
