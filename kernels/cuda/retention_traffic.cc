#include "kernels/cuda/retention_traffic.h"

#include "kernels/cuda/retention_few.h"
#include "kernels/cuda/retention_many.h"

namespace retnet {
namespace {

constexpr int64_t kFloat = 4;
constexpr int64_t kTail = 2;

int64_t Blocks(int32_t columns, int32_t columns_of_block) {
  return (columns + columns_of_block - 1) / columns_of_block;
}

int64_t BaseBytes(const RetentionShape& shape) {
  return int64_t{shape.heads} * shape.key_dim * shape.value_dim * kFloat;
}
int64_t TailTokenBytes(const RetentionShape& shape) {
  return int64_t{shape.kv_heads} * (shape.key_dim + shape.value_dim) * kTail;
}
int64_t AngleBytes(const RetentionShape& shape) { return shape.key_dim * kFloat; }

// Head norm and gate of a row: the retained row so many times, gate, weight, the result.
int64_t NormBytes(const RetentionShape& shape, int32_t reads) {
  return shape.OutputColumns() * kFloat * (reads + (shape.gated ? 3 : 2));
}
// Of a row to a tail: k with its angles, and v.
int64_t AppendBytes(const RetentionShape& shape) {
  return int64_t{shape.kv_heads} *
             ((shape.key_dim + shape.value_dim) * kFloat + AngleBytes(shape)) +
         TailTokenBytes(shape);
}

}  // namespace

RetentionTraffic DecodeTraffic(const RetentionShape& shape, int32_t sequences, int32_t tail) {
  const int64_t columns = shape.ProjectionColumns() + shape.OutputColumns();
  RetentionTraffic traffic;
  traffic.floor = sequences * (BaseBytes(shape) + (tail + 1) * TailTokenBytes(shape) +
                               columns * kFloat + AngleBytes(shape));
  const int64_t blocks = shape.heads * Blocks(shape.value_dim, FewColumns(shape, sequences));
  const int64_t rotated_row = shape.key_dim * kFloat + AngleBytes(shape);
  const int64_t block_bytes = 2 * rotated_row + tail * shape.key_dim * kTail;  // q, k, the tail's k
  const int64_t values = (tail * kTail + kFloat) * shape.OutputColumns();
  traffic.requested = sequences * (BaseBytes(shape) + blocks * block_bytes + values +
                                   shape.OutputColumns() * kFloat + NormBytes(shape, /*reads=*/2) +
                                   AppendBytes(shape));
  return traffic;
}

RetentionTraffic PromptTraffic(const RetentionShape& shape, int32_t rows) {
  RetentionTraffic traffic;
  traffic.floor =
      2 * BaseBytes(shape) +
      rows * ((shape.ProjectionColumns() + shape.OutputColumns()) * kFloat + AngleBytes(shape));
  const int64_t key_columns = int64_t{shape.heads + shape.kv_heads} * shape.key_dim;
  const int64_t value_columns = int64_t{shape.kv_heads} * shape.value_dim;
  const int64_t prepared = (key_columns + value_columns) * (kFloat + kTail) +
                           (shape.heads + shape.kv_heads) * AngleBytes(shape);
  // A head's q, and its k of a row's whole chunk once a chunk.
  const int64_t head_row = 2 * shape.key_dim * kTail;
  const int64_t weights = kChunk * kTail;
  const int64_t weighed = shape.heads * (head_row + weights);
  const int64_t blocks = shape.heads * Blocks(shape.value_dim, kManyColumns);
  const int64_t retained = blocks * (head_row + weights) + shape.OutputColumns() * (kTail + kFloat);
  traffic.requested = 2 * BaseBytes(shape) +
                      rows * (prepared + weighed + retained + NormBytes(shape, /*reads=*/1)) +
                      kChunk * AppendBytes(shape);
  return traffic;
}

}  // namespace retnet
