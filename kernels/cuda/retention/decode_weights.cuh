// The rows of a block of RetentionDecode, and the weights γ^(t−j) q·k_j of the tokens they read.
// The blocks of a head compute the weights together.
#ifndef RETNET_KERNELS_CUDA_RETENTION_DECODE_WEIGHTS_CUH_
#define RETNET_KERNELS_CUDA_RETENTION_DECODE_WEIGHTS_CUH_

#include <cstdint>

#include "kernels/cuda/retention/retention.h"
#include "kernels/cuda/retention/rows.cuh"
#include "kernels/cuda/retention/states_view.h"
#include "kernels/cuda/runtime/block_reduce.cuh"

namespace retnet::cuda {

// The rows of a block: all rows of one piece if readers is 1, otherwise the single rows of
// `readers` pieces that read the same base. `pieces` [readers] is in shared memory, to save
// registers.
struct DecodeRows {
  const RetentionPiece* pieces;
  int32_t readers;

  __device__ int32_t count() const { return readers > 1 ? readers : pieces->rows; }
  // For row i: its piece, its row of the activations, and the number of tokens of the chunk before
  // it.
  __device__ const RetentionPiece& PieceOf(int32_t i) const { return pieces[readers > 1 ? i : 0]; }
  __device__ int32_t Row(int32_t i) const { return PieceOf(i).first_row + (readers > 1 ? 0 : i); }
  __device__ int32_t Before(int32_t i) const { return PieceOf(i).tail + (readers > 1 ? 0 : i); }
};

// The head of a block, and its index among the `blocks` blocks that share the head and rows.
struct DecodePlace {
  int32_t head;
  int32_t kv_head;
  int32_t block;
  int32_t blocks;
};

inline constexpr int kDecodeThreads = 256;
inline constexpr int kDecodeWarps = kDecodeThreads / kWarp;

// The rotated queries [kRows, key_dim] and the weights [kRows, kChunk] of up to kRows rows at a
// time, both in shared memory.
template <int kRows>
class DecodeWeights {
 public:
  static constexpr int64_t SharedNumbers(int32_t key_dim) { return kRows * (key_dim + kChunk); }

  __device__ DecodeWeights(const RetentionInputs& inputs, const StatesView& states,
                           const DecodeRows& rows, const DecodePlace& place, float query_scale,
                           float* queries)
      : inputs_(inputs),
        states_(states),
        shape_(states.shape),
        of_(rows),
        place_(place),
        query_scale_(query_scale),
        queries_(queries),
        weights_(queries + kRows * shape_.key_dim) {}

  __device__ float query(int32_t i, int32_t k) const { return queries_[i * shape_.key_dim + k]; }
  __device__ float operator()(int32_t i, int32_t j) const { return weights_[i * kChunk + j]; }
  // The end of its shared memory.
  __device__ float* end() const { return weights_ + kRows * kChunk; }

  // Rotates and scales the q of rows first … first + rows − 1. They replace the previous rows.
  __device__ void RotateQueries(int32_t first, int32_t rows) {
#pragma unroll 1
    for (int32_t i = threadIdx.x; i < kRows * pairs(); i += kDecodeThreads) {
      const int32_t row = i / pairs();
      const int32_t pair = i % pairs();
      float2 q{0, 0};
      if (row < rows) {
        q = RotatedQuery(inputs_, shape_, of_.Row(first + row), place_.head, pair, query_scale_);
      }
      queries_[row * shape_.key_dim + pair] = q.x;
      queries_[row * shape_.key_dim + pair + pairs()] = q.y;
    }
  }

  // Computes weights[i][j] = γ^(t−j) (q_i·k_j) for j ≤ t, where t is the number of tokens before
  // row i. The weights are numbered row by row, kChunk per row. The blocks of a head divide them:
  // block b of B computes numbers b, b + B, …. A warp computes one weight; each lane takes
  // kLanePairs pairs out of every kLanePairs · kWarp. A lane takes the same pairs in the same order
  // whether k is in the tail or in a row of the piece.
  __device__ void Weigh(int32_t first, int32_t rows) {
    const int32_t step = kDecodeWarps * place_.blocks;
#pragma unroll 1
    for (int32_t n = threadIdx.x / kWarp * place_.blocks + place_.block; n < rows * kChunk;
         n += kWarpTokens * step) {
      if (pairs() % kLanePairs == 0) WeighTailTokens(first, rows, n, step);
#pragma unroll 1
      for (int32_t m = n; m < min(n + kWarpTokens * step, rows * kChunk); m += step) {
        const int32_t i = first + m / kChunk;
        const int32_t j = m % kChunk;
        if (!IsVector(i, j) && j <= of_.Before(i)) WeighToken(first, m);
      }
    }
  }

  // Reads the weights that other blocks compute. A weight that has not arrived after kPolls reads
  // is computed here, by the same arithmetic. So no block depends on the progress of another block.
  __device__ void Take(int32_t first, int32_t rows) {
    if (place_.blocks == 1) return;
    const int32_t share = rows * kChunk / kDecodeWarps;  // of a warp
    const int32_t begin = threadIdx.x / kWarp * share;
#pragma unroll 1
    for (int32_t of_warp = begin; of_warp < begin + share; of_warp += kWarp) {
      const int32_t n = of_warp + Lane();
      bool misses = n < begin + share && n % place_.blocks != place_.block &&
                    n % kChunk <= of_.Before(first + n / kChunk);
#pragma unroll 1
      for (int poll = 0; poll < kPolls && __any_sync(kAllLanes, misses); ++poll) {
        if (!misses) continue;
        const float weight = *Exchanged(first, n);
        misses = __float_as_uint(weight) == kNoWeight;
        if (!misses) weights_[n] = weight;
      }
#pragma unroll 1
      for (unsigned left = __ballot_sync(kAllLanes, misses); left != 0; left &= left - 1) {
        WeighToken(first, of_warp + __ffs(left) - 1);
      }
    }
  }

  // Resets the exchanged weights for the next launch. Only the last block calls it.
  __device__ void Clear(int32_t rows) {
    if (place_.blocks == 1) return;
    const int32_t group = shape_.heads / shape_.kv_heads;
#pragma unroll 1
    for (int32_t i = threadIdx.x; i < rows * group * kChunk; i += kDecodeThreads) {
      const int32_t row = i / (group * kChunk);
      const int32_t head = place_.kv_head * group + i / kChunk % group;
      states_.ExchangedWeights(of_.Row(row), head)[i % kChunk] = __uint_as_float(kNoWeight);
    }
  }

 private:
  static constexpr int kLanePairs = 4;   // pairs of a k: one 8-byte load for each half of k
  static constexpr int kWarpTokens = 2;  // tokens whose k a warp loads at a time
  static constexpr int kPolls = 32;      // reads of a weight that another block computes

  __device__ int32_t pairs() const { return shape_.key_dim / 2; }

  // Whether the k of token j is in the tail and can be loaded as vectors.
  __device__ bool IsVector(int32_t i, int32_t j) const {
    return j < of_.PieceOf(i).tail && pairs() % kLanePairs == 0;
  }

  // Computes weights n, n + step, … (kWarpTokens of them), if their k can be loaded as vectors.
  // Their loads are in flight together.
  __device__ void WeighTailTokens(int32_t first, int32_t rows, int32_t n, int32_t step) {
    const __nv_bfloat16* keys[kWarpTokens] = {};
#pragma unroll
    for (int token = 0; token < kWarpTokens; ++token) {
      const int32_t i = (n + token * step) / kChunk;
      const int32_t j = (n + token * step) % kChunk;
      if (i < rows && IsVector(first + i, j)) {
        keys[token] = states_.TailKeys(of_.PieceOf(first + i).slot, inputs_.layer, place_.kv_head) +
                      int64_t{j} * states_.padded_key_dim;
      }
    }
    float products[kWarpTokens] = {};
#pragma unroll 1
    for (int32_t pair = Lane() * kLanePairs; pair < pairs(); pair += kLanePairs * kWarp) {
      uint2 k[kWarpTokens][2] = {};
#pragma unroll
      for (int token = 0; token < kWarpTokens; ++token) {
        if (keys[token] == nullptr) continue;
        k[token][0] = *reinterpret_cast<const uint2*>(keys[token] + pair);
        k[token][1] = *reinterpret_cast<const uint2*>(keys[token] + pair + pairs());
      }
#pragma unroll
      for (int token = 0; token < kWarpTokens; ++token) {
        const int32_t i = kRows > 1 ? (n + token * step) / kChunk % kRows : 0;
        const float4 x = Widened(k[token][0]);
        const float4 y = Widened(k[token][1]);
        AddProduct(i, pair, {x.x, y.x}, &products[token]);
        AddProduct(i, pair + 1, {x.y, y.y}, &products[token]);
        AddProduct(i, pair + 2, {x.z, y.z}, &products[token]);
        AddProduct(i, pair + 3, {x.w, y.w}, &products[token]);
      }
    }
#pragma unroll
    for (int token = 0; token < kWarpTokens; ++token) {
      if (keys[token] != nullptr) WriteWeight(first, n + token * step, products[token]);
    }
  }

  // Computes weight n with scalar loads, in the same order of additions.
  __device__ void WeighToken(int32_t first, int32_t n) {
    const int32_t i = n / kChunk;
    float product = 0;
#pragma unroll 1
    for (int32_t pair = Lane() * kLanePairs; pair < pairs(); pair += kLanePairs * kWarp) {
#pragma unroll 1
      for (int32_t p = pair; p < min(pair + kLanePairs, pairs()); ++p) {
        AddProduct(
            i, p, TokenKey(inputs_, states_, of_.PieceOf(first + i), place_.kv_head, n % kChunk, p),
            &product);
      }
    }
    WriteWeight(first, n, product);
  }

  __device__ void AddProduct(int32_t i, int32_t pair, float2 k, float* product) const {
    const float* q = queries_ + i * shape_.key_dim + pair;
    *product = fmaf(q[pairs()], k.y, fmaf(q[0], k.x, *product));
  }

  // Where the blocks of a head exchange weight n. The word itself says whether it has arrived
  // (kNoWeight: not yet), so no memory ordering is needed.
  __device__ volatile float* Exchanged(int32_t first, int32_t n) const {
    return states_.ExchangedWeights(of_.Row(first + n / kChunk), place_.head) + n % kChunk;
  }

  __device__ void WriteWeight(int32_t first, int32_t n, float product) {
    product = WarpSum(product);
    if (Lane() != 0) return;
    const int32_t age = of_.Before(first + n / kChunk) - n % kChunk;
    weights_[n] = product * states_.Decays(place_.head)[age];
    if (place_.blocks > 1) *Exchanged(first, n) = weights_[n];
  }

  const RetentionInputs& inputs_;
  const StatesView& states_;
  const RetentionShape& shape_;
  const DecodeRows of_;
  const DecodePlace place_;
  const float query_scale_;
  float* const queries_;
  float* const weights_;
};

}  // namespace retnet::cuda

#endif  // RETNET_KERNELS_CUDA_RETENTION_DECODE_WEIGHTS_CUH_
