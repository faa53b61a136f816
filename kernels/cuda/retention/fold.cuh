// The arithmetic of a fold, on tensor cores. Decode and prefill both use it, so the bits are equal.
#ifndef RETNET_KERNELS_CUDA_RETENTION_FOLD_CUH_
#define RETNET_KERNELS_CUDA_RETENTION_FOLD_CUH_

#include <cuda_bf16.h>

#include <cstdint>

#include "kernels/cuda/retention/base_element.cuh"
#include "kernels/cuda/retention/states_view.h"
#include "kernels/cuda/runtime/block_reduce.cuh"
#include "kernels/operands.h"

namespace retnet::cuda {

// base' = γ^C base + Σ_j k_jᵀ (γ^(C−1−j) v_j). The decayed v is an fp32 number, split into two bf16
// numbers that together keep 16 bits. Two mma.m16n8k16 add the product of 16 tokens to the fp32
// sum, first with the high parts, then with the low parts; j ascends. The result is rounded to the
// type of the base. Tiles are of the transposed base (value columns by keys). So a tile can be an
// operand of q·base without being rearranged.
constexpr int kFoldTokens = 16;  // tokens of one mma
constexpr int kFoldSteps = kChunk / kFoldTokens;
constexpr int kTileColumns = 16;  // value columns: m of the mma
constexpr int kTileKeys = 8;      // keys: n of the mma

// The elements of one lane of operand A [16, 16], row-major, in the order of PTX's mma.m16n8k16.
// Operand B is [16, 8], column-major.
struct FragmentA {
  unsigned x[4];
};

__device__ inline void MultiplyAdd(const FragmentA& a, unsigned b0, unsigned b1, float (&c)[4]) {
  asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
      "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a.x[0]), "r"(a.x[1]), "r"(a.x[2]), "r"(a.x[3]), "r"(b0), "r"(b1));
}

__device__ inline unsigned Packed(__nv_bfloat16 low, __nv_bfloat16 high) {
  return unsigned{__bfloat16_as_ushort(high)} << 16 | __bfloat16_as_ushort(low);
}

// The decayed v of 16 tokens and 16 columns, as operand A.
struct DecayedValues {
  FragmentA high;
  FragmentA low;

  // Sets elements 2i and 2i + 1 of the lane, from the v of tokens j and j + 1. decay0 and decay1
  // are γ^(C−1−j) and γ^(C−2−j).
  __device__ void Set(int i, __nv_bfloat16 v0, __nv_bfloat16 v1, float decay0, float decay1) {
    const float x0 = __bfloat162float(v0) * decay0;
    const float x1 = __bfloat162float(v1) * decay1;
    const __nv_bfloat16 high0 = __float2bfloat16_rn(x0);
    const __nv_bfloat16 high1 = __float2bfloat16_rn(x1);
    high.x[i] = Packed(high0, high1);
    low.x[i] = Packed(__float2bfloat16_rn(x0 - __bfloat162float(high0)),
                      __float2bfloat16_rn(x1 - __bfloat162float(high1)));
  }
};

// Adds the products of 16 tokens to a tile. k0 and k1 are operand B.
__device__ inline void FoldStep(const DecayedValues& values, unsigned k0, unsigned k1,
                                float (&tile)[4]) {
  MultiplyAdd(values.high, k0, k1, tile);
  MultiplyAdd(values.low, k0, k1, tile);
}

// base[piece.base] = fold(base[piece.fold_source], tail) of one head, for value columns
// [first_column, first_column + columns). `columns` must be a multiple of kTileColumns. All threads
// of the block must call it. Each element is read and written by one thread, so source and target
// may be the same base. It reads global memory directly: a sequence folds only once in kChunk
// tokens.
template <typename Base>
__device__ inline void FoldColumns(const StatesView& states, int32_t layer, int32_t head,
                                   const RetentionPiece& piece, int32_t first_column,
                                   int32_t columns) {
  constexpr int kTiles = 2;  // tiles of keys that share the decayed values of a warp
  const RetentionShape& shape = states.shape;
  const int32_t kv_head = head / (shape.heads / shape.kv_heads);
  const float* decays = states.Decays(head);
  const Base* source =
      piece.fold_source == kZeroBase ? nullptr : states.Base<Base>(piece.fold_source, layer, head);
  Base* target = states.Base<Base>(piece.base, layer, head);
  const __nv_bfloat16* keys = states.TailKeys(piece.slot, layer, kv_head);
  const __nv_bfloat16* values = states.TailValues(piece.slot, layer, kv_head);
  const int lane_row = Lane() / 4;
  const int lane_column = Lane() % 4 * 2;
  const int32_t key_blocks = (shape.key_dim + kTiles * kTileKeys - 1) / (kTiles * kTileKeys);
  const int32_t items = columns / kTileColumns * key_blocks;
#pragma unroll 1
  for (int32_t item = threadIdx.x / kWarp; item < items; item += blockDim.x / kWarp) {
    const int32_t column = first_column + item / key_blocks * kTileColumns;
    const int32_t key = item % key_blocks * kTiles * kTileKeys;
    if (column >= shape.value_dim) continue;
    const auto base_index = [&](int32_t n, int i) {  // of element i of tile n, or −1
      const int32_t k = key + n * kTileKeys + lane_column + i % 2;
      const int32_t v = column + lane_row + i / 2 * 8;
      return k < shape.key_dim && v < shape.value_dim ? k * states.padded_value_dim + v : -1;
    };
    float tiles[kTiles][4] = {};
#pragma unroll
    for (int n = 0; n < kTiles; ++n) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        if (source != nullptr && base_index(n, i) >= 0) {
          tiles[n][i] = decays[kChunk] * BaseElement<Base>::Widened(source[base_index(n, i)]);
        }
      }
    }
#pragma unroll 1
    for (int step = 0; step < kFoldSteps; ++step) {
      const int32_t first_token = step * kFoldTokens + lane_column;
      DecayedValues decayed;
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const int32_t token = first_token + i / 2 * 8;
        const int32_t v = column + lane_row + i % 2 * 8;
        const bool inside = v < states.padded_value_dim;
        const auto at = [&](int32_t j) {
          return inside ? values[j * states.padded_value_dim + v] : __nv_bfloat16();
        };
        decayed.Set(i, at(token), at(token + 1), decays[kChunk - 1 - token],
                    decays[kChunk - 2 - token]);
      }
#pragma unroll
      for (int n = 0; n < kTiles; ++n) {
        const int32_t k = key + n * kTileKeys + lane_row;
        const bool inside = k < states.padded_key_dim;
        const auto at = [&](int32_t j) {
          return inside ? keys[j * states.padded_key_dim + k] : __nv_bfloat16();
        };
        FoldStep(decayed, Packed(at(first_token), at(first_token + 1)),
                 Packed(at(first_token + 8), at(first_token + 9)), tiles[n]);
      }
    }
#pragma unroll
    for (int n = 0; n < kTiles; ++n) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        if (base_index(n, i) >= 0)
          target[base_index(n, i)] = BaseElement<Base>::Stored(tiles[n][i]);
      }
    }
  }
}

}  // namespace retnet::cuda

#endif  // RETNET_KERNELS_CUDA_RETENTION_FOLD_CUH_
