// The launches before and after RetainRows (prefill.cu). They process all rows at once: no row
// depends on the result of another.
#include <cmath>
#include <cstdint>

#include "kernels/cuda/retention/fold.cuh"
#include "kernels/cuda/retention/prefill.h"
#include "kernels/cuda/retention/rows.cuh"
#include "kernels/cuda/retention/tile.cuh"
#include "kernels/cuda/runtime/block_reduce.cuh"

namespace retnet::cuda {
namespace {

// The grid is [segments, heads (of q, k and v in PrepareTokens), pieces of a segment]. Returns the
// index of the block's piece, or −1 if the segment has fewer pieces.
__device__ int32_t PieceOfBlock(const PrefillArguments& arguments) {
  const int32_t piece = arguments.starts[blockIdx.x] + blockIdx.z;
  return piece < arguments.starts[blockIdx.x + 1] ? piece : -1;
}

__global__ void __launch_bounds__(256)
    PrepareTokensKernel(PrefillArguments arguments, float scale) {
  const int32_t index = PieceOfBlock(arguments);
  if (index < 0) return;
  const RetentionPiece piece = arguments.pieces[index];
  const StatesView& states = arguments.states;
  const RetentionShape& shape = states.shape;
  const int32_t head = blockIdx.y;  // the heads of q, then those of k, then those of v
  if (head < shape.heads + shape.kv_heads) {
    const int32_t pairs = shape.key_dim / 2;
    const int32_t columns = states.padded_key_dim;
    for (int32_t i = threadIdx.x; i < piece.rows * columns / 2; i += blockDim.x) {
      const int64_t row = piece.first_row + i / (columns / 2);
      const int32_t pair = i % (columns / 2);
      const bool is_query = head < shape.heads;
      __nv_bfloat16* to =
          is_query ? states.PreparedQuery(row, head) : states.PreparedKey(row, head - shape.heads);
      if (pair < pairs) {
        const float2 x = is_query
                             ? RotatedQuery(arguments.inputs, shape, row, head, pair, scale)
                             : RotatedKey(arguments.inputs, shape, row, head - shape.heads, pair);
        to[pair] = __float2bfloat16_rn(x.x);
        to[pair + pairs] = __float2bfloat16_rn(x.y);
      } else {
        to[2 * pair] = to[2 * pair + 1] = __float2bfloat16_rn(0.0f);
      }
    }
    return;
  }
  const int32_t kv_head = head - shape.heads - shape.kv_heads;
  const int32_t columns = states.padded_value_dim;
  for (int32_t i = threadIdx.x; i < piece.rows * columns; i += blockDim.x) {
    const int64_t row = piece.first_row + i / columns;
    const int32_t column = i % columns;
    const float v =
        column < shape.value_dim ? ValueRow(arguments.inputs, shape, row, kv_head)[column] : 0.0f;
    states.PreparedValue(row, kv_head)[column] = __float2bfloat16_rn(v);
  }
}

constexpr int kTileRows = 16;  // m of the mma
constexpr int kRowTiles = kChunk / kTileRows;
constexpr int kWeighThreads = kRowTiles * kWarp;

// A block computes one piece and one head, a warp 16 rows. Shared memory holds q and k, [kChunk,
// kKeys] each.
template <int kKeys>
__global__ void __launch_bounds__(kWeighThreads) WeighRowsKernel(PrefillArguments arguments) {
  extern __shared__ uint4 shared[];
  const int32_t index = PieceOfBlock(arguments);
  if (index < 0) return;
  const RetentionPiece piece = arguments.pieces[index];
  const StatesView& states = arguments.states;
  const int32_t head = blockIdx.y;
  const int32_t kv_head = head / (states.shape.heads / states.shape.kv_heads);
  const Tile<kKeys> queries{reinterpret_cast<__nv_bfloat16*>(shared)};
  const Tile<kKeys> keys{queries.data + Tile<kKeys>::kSize};
  const ChunkTokens tokens{states, arguments.inputs.layer, kv_head};
  queries.StartCopy(states.padded_key_dim, states.prepared_queries, [&](int32_t row) {
    return row < piece.rows ? states.PreparedQuery(piece.first_row + row, head) : nullptr;
  });
  keys.StartCopy(states.padded_key_dim, states.prepared_keys,
                 [&](int32_t j) { return tokens.Key(piece, j); });
  CommitCopies();
  WaitForCopies<0>();
  __syncthreads();

  const int32_t first_row = threadIdx.x / kWarp * kTileRows;
  if (first_row >= piece.rows) return;
  float products[kChunk / kTileKeys][4] = {};
  // The rows of the warp read tokens below this.
  const int32_t last = piece.tail + first_row + kTileRows;
  for (int k = 0; k < kKeys; k += kFoldTokens) {
    const FragmentA a = queries.A(first_row, k);
#pragma unroll
    for (int n = 0; n < kChunk / kTileKeys; n += 2) {
      if (n * kTileKeys >= last) continue;
      const FragmentA b = keys.TransposedB(n * kTileKeys, k);
      MultiplyAdd(a, b.x[0], b.x[1], products[n]);
      MultiplyAdd(a, b.x[2], b.x[3], products[n + 1]);
    }
  }
  const float* decays = states.Decays(head);
#pragma unroll
  for (int n = 0; n < kChunk / kTileKeys; ++n) {
#pragma unroll
    for (int i = 0; i < 4; i += 2) {
      const int32_t row = first_row + Lane() / 4 + i / 2 * 8;
      if (row >= piece.rows) continue;
      const int32_t j = n * kTileKeys + Lane() % 4 * 2;
      const int32_t age = piece.tail + row - j;
      const float w0 = age >= 0 ? products[n][i] * decays[age] : 0.0f;
      const float w1 = age >= 1 ? products[n][i + 1] * decays[age - 1] : 0.0f;
      *reinterpret_cast<unsigned*>(states.PreparedWeights(piece.first_row + row, head) + j) =
          Packed(__float2bfloat16_rn(w0), __float2bfloat16_rn(w1));
    }
  }
}

__global__ void __launch_bounds__(256) FinishRowsKernel(PrefillArguments arguments) {
  const int32_t index = PieceOfBlock(arguments);
  if (index < 0) return;
  const RetentionPiece piece = arguments.pieces[index];
  const RetentionShape& shape = arguments.states.shape;
  const int32_t head = blockIdx.y;
  const int32_t group = shape.heads / shape.kv_heads;
  const bool is_last = index + 1 == arguments.starts[blockIdx.x + 1];
  if (is_last && head % group == 0) {
    AppendToTail(arguments.inputs, arguments.states, piece, head / group);
  }
  for (int32_t i = threadIdx.x / kWarp; i < piece.rows; i += blockDim.x / kWarp) {
    NormAndGate<16>(arguments.inputs, shape, piece.first_row + i, head, arguments.out);
  }
}

template <int kKeys>
cudaError_t LaunchWeigh(const PrefillArguments& arguments, dim3 grid, cudaStream_t stream) {
  constexpr int kBytes = 2 * Tile<kKeys>::kSize * sizeof(__nv_bfloat16);
  const cudaError_t error = cudaFuncSetAttribute(
      WeighRowsKernel<kKeys>, cudaFuncAttributeMaxDynamicSharedMemorySize, kBytes);
  if (error != cudaSuccess) return error;
  WeighRowsKernel<kKeys><<<grid, kWeighThreads, kBytes, stream>>>(arguments);
  return cudaGetLastError();
}

}  // namespace

cudaError_t PrepareTokens(const PrefillArguments& arguments, const RetentionExtent& extent,
                          cudaStream_t stream) {
  const RetentionShape& shape = arguments.states.shape;
  const dim3 grid(extent.segments, shape.heads + 2 * shape.kv_heads, extent.pieces);
  PrepareTokensKernel<<<grid, 256, 0, stream>>>(arguments,
                                                static_cast<float>(1 / std::sqrt(shape.key_dim)));
  return cudaGetLastError();
}

cudaError_t WeighRows(const PrefillArguments& arguments, const RetentionExtent& extent,
                      cudaStream_t stream) {
  const dim3 grid(extent.segments, arguments.states.shape.heads, extent.pieces);
  const int32_t key_dim = arguments.states.padded_key_dim;
  if (key_dim <= 64) return LaunchWeigh<64>(arguments, grid, stream);
  if (key_dim <= 128) return LaunchWeigh<128>(arguments, grid, stream);
  return LaunchWeigh<kMaxPrefillKeyDim>(arguments, grid, stream);
}

cudaError_t FinishRows(const PrefillArguments& arguments, const RetentionExtent& extent,
                       cudaStream_t stream) {
  const dim3 grid(extent.segments, arguments.states.shape.heads, extent.pieces);
  FinishRowsKernel<<<grid, 256, 0, stream>>>(arguments);
  return cudaGetLastError();
}

}  // namespace retnet::cuda
