// Device functions of Retention for single rows: rotation, rounding to the type of the tail, head
// norm and gate, and appending to a tail.
#ifndef RETNET_KERNELS_CUDA_RETENTION_ROWS_CUH_
#define RETNET_KERNELS_CUDA_RETENTION_ROWS_CUH_

#include <cuda_bf16.h>

#include <cstdint>

#include "kernels/cuda/retention/fold.cuh"
#include "kernels/cuda/retention/retention.h"
#include "kernels/cuda/retention/states_view.h"
#include "kernels/cuda/runtime/block_reduce.cuh"

namespace retnet::cuda {

__device__ inline float Rounded(float value) {
  return __bfloat162float(__float2bfloat16_rn(value));
}

// Converts four bf16 numbers to fp32.
__device__ inline float4 Widened(uint2 packed) {
  return {__uint_as_float(packed.x << 16), __uint_as_float(packed.x & 0xFFFF0000u),
          __uint_as_float(packed.y << 16), __uint_as_float(packed.y & 0xFFFF0000u)};
}

// (a, b) rotated by the angle with this cosine and sine.
__device__ inline float2 Turned(float a, float b, float cosine, float sine) {
  return {fmaf(-b, sine, a * cosine), fmaf(a, sine, b * cosine)};
}

// Pair i of the k of a row: elements i and i + key_dim / 2, rotated, not rounded.
__device__ inline float2 RotatedKey(const RetentionInputs& inputs, const RetentionShape& shape,
                                    int64_t row, int32_t kv_head, int32_t i) {
  const int32_t pairs = shape.key_dim / 2;
  const float* k = inputs.projections.row(row) + int64_t{shape.heads + kv_head} * shape.key_dim;
  return Turned(k[i], k[i + pairs], inputs.cosines.row(row)[i], inputs.sines.row(row)[i]);
}

// Pair i of the q of a row, rotated and multiplied by `scale`, which is key_dim^−½.
__device__ inline float2 RotatedQuery(const RetentionInputs& inputs, const RetentionShape& shape,
                                      int64_t row, int32_t head, int32_t i, float scale) {
  const int32_t pairs = shape.key_dim / 2;
  const float* q = inputs.projections.row(row) + int64_t{head} * shape.key_dim;
  const float2 turned =
      Turned(q[i], q[i + pairs], inputs.cosines.row(row)[i], inputs.sines.row(row)[i]);
  return {turned.x * scale, turned.y * scale};
}

// The v of a row, [value_dim], not rounded.
__device__ inline const float* ValueRow(const RetentionInputs& inputs, const RetentionShape& shape,
                                        int64_t row, int32_t kv_head) {
  return inputs.projections.row(row) + int64_t{shape.heads + shape.kv_heads} * shape.key_dim +
         int64_t{kv_head} * shape.value_dim;
}

// Pair `pair` of the k of token j of the piece's chunk, rounded to bf16. The token is in the tail
// or is a row of the piece.
__device__ inline float2 TokenKey(const RetentionInputs& inputs, const StatesView& states,
                                  const RetentionPiece& piece, int32_t kv_head, int32_t j,
                                  int32_t pair) {
  if (j >= piece.tail) {
    const float2 k =
        RotatedKey(inputs, states.shape, piece.first_row + j - piece.tail, kv_head, pair);
    return {Rounded(k.x), Rounded(k.y)};
  }
  const __nv_bfloat16* k = states.TailKeys(piece.slot, inputs.layer, kv_head) +
                           int64_t{j} * states.padded_key_dim + pair;
  return {__bfloat162float(k[0]), __bfloat162float(k[states.shape.key_dim / 2])};
}

// Four columns of the v of token j as bf16, from `column` on, which must be a multiple of 4.
// Columns beyond the last one are zero.
__device__ inline uint2 TokenValues(const RetentionInputs& inputs, const StatesView& states,
                                    const RetentionPiece& piece, int32_t kv_head, int32_t j,
                                    int32_t column) {
  if (j < piece.tail) {
    if (column >= states.padded_value_dim) return {0, 0};
    return *reinterpret_cast<const uint2*>(states.TailValues(piece.slot, inputs.layer, kv_head) +
                                           int64_t{j} * states.padded_value_dim + column);
  }
  const float* row = ValueRow(inputs, states.shape, piece.first_row + j - piece.tail, kv_head);
  const auto at = [&](int32_t c) {
    return __float2bfloat16_rn(c < states.shape.value_dim ? row[c] : 0.0f);
  };
  return {Packed(at(column), at(column + 1)), Packed(at(column + 2), at(column + 3))};
}

// Appends the k and v of the rows of a piece to its tail. All threads of the block must call it.
__device__ inline void AppendToTail(const RetentionInputs& inputs, const StatesView& states,
                                    const RetentionPiece& piece, int32_t kv_head) {
  const RetentionShape& shape = states.shape;
  const int32_t pairs = shape.key_dim / 2;
  __nv_bfloat16* keys = states.TailKeys(piece.slot, inputs.layer, kv_head) +
                        int64_t{piece.tail} * states.padded_key_dim;
#pragma unroll 1
  for (int32_t i = threadIdx.x; i < piece.rows * pairs; i += blockDim.x) {
    const int32_t row = i / pairs;
    const int32_t pair = i % pairs;
    const float2 k = RotatedKey(inputs, shape, piece.first_row + row, kv_head, pair);
    keys[row * states.padded_key_dim + pair] = __float2bfloat16_rn(k.x);
    keys[row * states.padded_key_dim + pair + pairs] = __float2bfloat16_rn(k.y);
  }
  __nv_bfloat16* values = states.TailValues(piece.slot, inputs.layer, kv_head) +
                          int64_t{piece.tail} * states.padded_value_dim;
#pragma unroll 1
  for (int32_t i = threadIdx.x; i < piece.rows * shape.value_dim; i += blockDim.x) {
    const int32_t row = i / shape.value_dim;
    const int32_t column = i % shape.value_dim;
    values[row * states.padded_value_dim + column] =
        __float2bfloat16_rn(ValueRow(inputs, shape, piece.first_row + row, kv_head)[column]);
  }
}

// Applies RMSNorm in place to the columns of one head of an output row, and multiplies by
// silu(gate) if the shape is gated. All lanes of one warp must call it. Other blocks may have
// written the row. Each lane keeps kHeld numbers in registers between the sum and the result; it
// reads the others twice.
template <int kHeld>
__device__ inline void NormAndGate(const RetentionInputs& inputs, const RetentionShape& shape,
                                   int64_t row, int32_t head, const MatrixView<float>& out) {
  float* y = out.row(row) + int64_t{head} * shape.value_dim;
  const float* gate = inputs.projections.row(row) + shape.ProjectionColumns() -
                      shape.OutputColumns() + int64_t{head} * shape.value_dim;
  float held[kHeld > 0 ? kHeld : 1] = {};
  float squares = 0;
#pragma unroll
  for (int i = 0; i < kHeld; ++i) {
    const int32_t column = Lane() + i * kWarp;
    held[i] = column < shape.value_dim ? __ldcg(y + column) : 0.0f;
  }
#pragma unroll
  for (float x : held) squares = fmaf(x, x, squares);
#pragma unroll 4
  for (int32_t column = Lane() + kHeld * kWarp; column < shape.value_dim; column += kWarp) {
    const float x = __ldcg(y + column);
    squares = fmaf(x, x, squares);
  }
  float epsilon = inputs.norm.epsilon;
  if (inputs.decay_sums.columns > 0) epsilon *= inputs.decay_sums.row(row)[head];
  const float scale = 1 / sqrtf(WarpSum(squares) / shape.value_dim + epsilon);
  const auto write = [&](float x, int32_t column) {
    x *= scale;
    if (inputs.norm.weight != nullptr) x *= inputs.norm.weight[column];
    if (shape.gated) x *= gate[column] / (1 + expf(-gate[column]));
    y[column] = x;
  };
#pragma unroll
  for (int i = 0; i < kHeld; ++i) {
    const int32_t column = Lane() + i * kWarp;
    if (column < shape.value_dim) write(held[i], column);
  }
#pragma unroll 4
  for (int32_t column = Lane() + kHeld * kWarp; column < shape.value_dim; column += kWarp) {
    write(__ldcg(y + column), column);
  }
}

}  // namespace retnet::cuda

#endif  // RETNET_KERNELS_CUDA_RETENTION_ROWS_CUH_
