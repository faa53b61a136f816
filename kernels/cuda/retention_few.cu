#include <algorithm>
#include <cmath>
#include <cstdint>

#include "kernels/cuda/block_reduce.cuh"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/retention_few.h"
#include "kernels/cuda/retention_fold.cuh"
#include "kernels/cuda/retention_rows.cuh"

namespace retnet {
namespace {

constexpr int kThreads = 256;
constexpr int kWarps = kThreads / kWarp;
constexpr int kStripColumns = 32;  // 128 bytes of a base's row
constexpr int kThreadColumns = 4;  // one 16-byte load
constexpr int kStripThreads = kStripColumns / kThreadColumns;
constexpr int kGroups = kThreads / kStripThreads;  // of threads; each reads whole rows
constexpr int kLoads = 8;                          // that a thread has in flight

constexpr int64_t kEnoughBlocks = 512;  // keep any device busy; wider ones share the products q·k
constexpr int kLanePairs = 4;           // of a k: one 8-byte load for each half of the pairs
constexpr int kLaneTokens = 4;          // of the tail, whose k a warp loads at a time

struct FewArguments {
  const RetentionPiece* pieces;
  const int32_t* starts;
  int32_t piece;
  float query_scale;
  RetentionInputs inputs;
  StatesView states;
  MatrixView<float> out;
};

// Shared memory: queries [kRows, key_dim], weights [kRows, kChunk], sums [kWarps, kRows, columns].
template <int kRows, int kStrips>
class FewBlock {
 public:
  static constexpr int kColumns = kStrips * kStripColumns;

  static size_t SharedBytes(int32_t key_dim) {
    return sizeof(float) * kRows * (key_dim + kChunk + kWarps * kColumns);
  }

  __device__ FewBlock(const FewArguments& arguments, const RetentionPiece& piece, float* shared)
      : inputs_(arguments.inputs),
        states_(arguments.states),
        shape_(states_.shape),
        out_(arguments.out),
        piece_(piece),
        query_scale_(arguments.query_scale),
        head_(blockIdx.y),
        kv_head_(head_ / (shape_.heads / shape_.kv_heads)),
        first_column_(blockIdx.z * kColumns),
        queries_(shared),
        weights_(queries_ + kRows * shape_.key_dim),
        sums_(weights_ + kRows * kChunk) {}

  __device__ void Run() {
    if (piece_.folds) {
      FoldColumns(states_, inputs_.layer, head_, piece_, first_column_, kColumns);
      __syncthreads();
    }
    for (int32_t first = 0; first < piece_.rows; first += kRows) {
      RetainRows(first, min(kRows, piece_.rows - first));
    }
    if (!IsLastOfKvHead()) return;
    const int32_t group = shape_.heads / shape_.kv_heads;
    for (int32_t i = threadIdx.x / kWarp; i < piece_.rows * group; i += kWarps) {
      NormAndGate<0>(inputs_, shape_, piece_.first_row + i / group, kv_head_ * group + i % group,
                     out_);
    }
    AppendToTail(inputs_, states_, piece_, kv_head_);
  }

 private:
  static constexpr int kBatch = kLoads / kStrips;  // rows of the base that a thread loads at a time

  struct Batch {
    float4 x[kBatch][kStrips];
  };

  __device__ int32_t pairs() const { return shape_.key_dim / 2; }
  __device__ int32_t group() const { return threadIdx.x / kStripThreads; }
  // The thread's first column of a strip; its others follow.
  __device__ int32_t column(int strip) const {
    return first_column_ + strip * kStripColumns + threadIdx.x % kStripThreads * kThreadColumns;
  }

  // Rows first … first + rows − 1 of the piece, from base and tail to `out`, not yet normed.
  __device__ void RetainRows(int32_t first, int32_t rows) {
    const bool has_base = piece_.base != kZeroBase;
    Batch batch;
    if (has_base) LoadBase(0, &batch);  // in flight while q is rotated
    RotateQueries(first, rows);
    __syncthreads();
    Weigh(first, rows);
    float sums[kRows][kStrips][kThreadColumns] = {};
    if (has_base) {
      AddBase(&batch, sums);
      const float* decays = states_.Decays(head_);
#pragma unroll
      for (int i = 0; i < kRows; ++i) {
        const float decay = decays[min(piece_.tail + first + i + 1, kChunk)];
#pragma unroll
        for (int strip = 0; strip < kStrips; ++strip) {
#pragma unroll
          for (float& sum : sums[i][strip]) sum *= decay;
        }
      }
    }
    __syncthreads();
    AddTokens(first, rows, sums);
    Reduce(first, rows, sums);
  }

  __device__ void RotateQueries(int32_t first, int32_t rows) {
#pragma unroll 1
    for (int32_t i = threadIdx.x; i < kRows * pairs(); i += kThreads) {
      const int32_t row = i / pairs();
      const int32_t pair = i % pairs();
      float2 q{0, 0};
      if (row < rows) {
        q = RotatedQuery(inputs_, shape_, piece_.first_row + first + row, head_, pair,
                         query_scale_);
      }
      queries_[row * shape_.key_dim + pair] = q.x;
      queries_[row * shape_.key_dim + pair + pairs()] = q.y;
    }
  }

  // weights[i][j] = γ^(t−j) (q_i·k_j) for j ≤ t = tokens before row i. A warp takes a token, a lane
  // kLanePairs pairs of every kLanePairs · kWarp; whether k is in the tail or among the piece's
  // rows, a lane takes the same ones in the same order.
  __device__ void Weigh(int32_t first, int32_t rows) {
    const int32_t tokens = piece_.tail + first + rows;
    const int32_t tail = min(piece_.tail, tokens);
    int32_t j = threadIdx.x / kWarp;
    if (pairs() % kLanePairs == 0) {
#pragma unroll 1
      for (; j + (kLaneTokens - 1) * kWarps < tail; j += kLaneTokens * kWarps) {
        WeighTokens<kLaneTokens>(first, j);
      }
#pragma unroll 1
      for (; j < tail; j += kWarps) WeighTokens<1>(first, j);
    }
#pragma unroll 1
    for (; j < tokens; j += kWarps) {
      float products[kRows] = {};
#pragma unroll 1
      for (int32_t i = Lane() * kLanePairs; i < pairs(); i += kLanePairs * kWarp) {
#pragma unroll 1
        for (int32_t pair = i; pair < min(i + kLanePairs, pairs()); ++pair) {
          AddProducts(TokenKey(inputs_, states_, piece_, kv_head_, j, pair), pair, products);
        }
      }
      WriteWeights(first, j, products);
    }
  }

  // Of the tail's tokens j, j + kWarps, …: their loads are in flight together.
  template <int kTokens>
  __device__ void WeighTokens(int32_t first, int32_t j) {
    const __nv_bfloat16* keys = states_.TailKeys(piece_.slot, inputs_.layer, kv_head_) +
                                int64_t{j} * states_.padded_key_dim;
    const int32_t stride = kWarps * states_.padded_key_dim;
    float products[kTokens][kRows] = {};
#pragma unroll 1
    for (int32_t i = Lane() * kLanePairs; i < pairs(); i += kLanePairs * kWarp) {
      uint2 k[kTokens][2];
#pragma unroll
      for (int token = 0; token < kTokens; ++token) {
        k[token][0] = *reinterpret_cast<const uint2*>(keys + token * stride + i);
        k[token][1] = *reinterpret_cast<const uint2*>(keys + token * stride + i + pairs());
      }
#pragma unroll
      for (int token = 0; token < kTokens; ++token) {
        const float4 x = Widened(k[token][0]);
        const float4 y = Widened(k[token][1]);
        AddProducts({x.x, y.x}, i, products[token]);
        AddProducts({x.y, y.y}, i + 1, products[token]);
        AddProducts({x.z, y.z}, i + 2, products[token]);
        AddProducts({x.w, y.w}, i + 3, products[token]);
      }
    }
#pragma unroll
    for (int token = 0; token < kTokens; ++token) {
      WriteWeights(first, j + token * kWarps, products[token]);
    }
  }

  __device__ void AddProducts(float2 k, int32_t pair, float (&products)[kRows]) const {
#pragma unroll
    for (int i = 0; i < kRows; ++i) {
      const float* q = queries_ + i * shape_.key_dim + pair;
      products[i] = fmaf(q[pairs()], k.y, fmaf(q[0], k.x, products[i]));
    }
  }

  __device__ void WriteWeights(int32_t first, int32_t j, const float (&products)[kRows]) {
    const float* decays = states_.Decays(head_);
#pragma unroll
    for (int i = 0; i < kRows; ++i) {
      const float product = WarpSum(products[i]);
      const int32_t age = piece_.tail + first + i - j;
      if (Lane() == 0 && age >= 0) weights_[i * kChunk + j] = product * decays[min(age, kChunk)];
    }
  }

  __device__ void LoadBase(int32_t first, Batch* batch) const {
    const float* base = states_.Base(piece_.base, inputs_.layer, head_);
#pragma unroll
    for (int i = 0; i < kBatch; ++i) {
      const int32_t k = first + i * kGroups + group();
#pragma unroll
      for (int strip = 0; strip < kStrips; ++strip) {
        if (k < shape_.key_dim && column(strip) < states_.padded_value_dim) {
          batch->x[i][strip] = *reinterpret_cast<const float4*>(
              base + int64_t{k} * states_.padded_value_dim + column(strip));
        }
      }
    }
  }

  // Adds the products of q and the group's rows of the base, in ascending order.
  __device__ void AddBase(Batch* batch, float (&sums)[kRows][kStrips][kThreadColumns]) const {
    for (int32_t first = 0; first < shape_.key_dim; first += kBatch * kGroups) {
      if (first > 0) LoadBase(first, batch);
#pragma unroll
      for (int i = 0; i < kBatch; ++i) {
        const int32_t k = first + i * kGroups + group();
        if (k >= shape_.key_dim) break;
#pragma unroll
        for (int row = 0; row < kRows; ++row) {
          const float q = queries_[row * shape_.key_dim + k];
#pragma unroll
          for (int strip = 0; strip < kStrips; ++strip) {
            float(&sum)[kThreadColumns] = sums[row][strip];
            const float4& x = batch->x[i][strip];
            sum[0] = fmaf(q, x.x, sum[0]);
            sum[1] = fmaf(q, x.y, sum[1]);
            sum[2] = fmaf(q, x.z, sum[2]);
            sum[3] = fmaf(q, x.w, sum[3]);
          }
        }
      }
    }
  }

  // Adds the weighted v of the group's tokens, in ascending order.
  __device__ void AddTokens(int32_t first, int32_t rows,
                            float (&sums)[kRows][kStrips][kThreadColumns]) const {
    const int32_t tokens = piece_.tail + first + rows;
    for (int32_t j = group(); j < tokens; j += kGroups) {
#pragma unroll
      for (int strip = 0; strip < kStrips; ++strip) {
        float v[kThreadColumns];
        LoadTokenValues(inputs_, states_, piece_, kv_head_, j, column(strip), v);
#pragma unroll
        for (int i = 0; i < kRows; ++i) {
          if (j > piece_.tail + first + i) continue;
#pragma unroll
          for (int c = 0; c < kThreadColumns; ++c) {
            sums[i][strip][c] = fmaf(weights_[i * kChunk + j], v[c], sums[i][strip][c]);
          }
        }
      }
    }
  }

  // Adds up the groups' sums, those of a warp first, and writes the rows.
  __device__ void Reduce(int32_t first, int32_t rows,
                         float (&sums)[kRows][kStrips][kThreadColumns]) {
    const int warp = threadIdx.x / kWarp;
#pragma unroll
    for (int i = 0; i < kRows; ++i) {
#pragma unroll
      for (int strip = 0; strip < kStrips; ++strip) {
#pragma unroll
        for (int c = 0; c < kThreadColumns; ++c) {
          float sum = sums[i][strip][c];
          sum += __shfl_xor_sync(kAllLanes, sum, kStripThreads);
          sum += __shfl_xor_sync(kAllLanes, sum, 2 * kStripThreads);
          if (Lane() < kStripThreads) {
            sums_[(warp * kRows + i) * kColumns + column(strip) - first_column_ + c] = sum;
          }
        }
      }
    }
    __syncthreads();
#pragma unroll 1
    for (int32_t i = threadIdx.x; i < rows * kColumns; i += kThreads) {
      const int32_t column = first_column_ + i % kColumns;
      if (column >= shape_.value_dim) continue;
      float sum = sums_[i];
#pragma unroll
      for (int w = 1; w < kWarps; ++w) sum += sums_[w * kRows * kColumns + i];
      out_.row(piece_.first_row + first +
               i / kColumns)[int64_t{head_} * shape_.value_dim + column] = sum;
    }
  }

  // Whether all other blocks of the segment and kv head have written their part of `out` and read
  // the tail for the last time. Leaves the counter zero.
  __device__ bool IsLastOfKvHead() {
    __shared__ bool is_last;
    __threadfence();
    __syncthreads();
    if (threadIdx.x == 0) {
      int32_t* arrivals = states_.arrivals + int64_t{piece_.slot} * shape_.kv_heads + kv_head_;
      const int32_t blocks = shape_.heads / shape_.kv_heads * gridDim.z;
      is_last = atomicAdd(arrivals, 1) == blocks - 1;
      if (is_last) *arrivals = 0;
      __threadfence();
    }
    __syncthreads();
    return is_last;
  }

  const RetentionInputs& inputs_;
  const StatesView& states_;
  const RetentionShape& shape_;
  const MatrixView<float>& out_;
  const RetentionPiece& piece_;  // in shared memory, so as not to take registers
  const float query_scale_;
  const int32_t head_;
  const int32_t kv_head_;
  const int32_t first_column_;
  float* const queries_;
  float* const weights_;
  float* const sums_;
};

template <int kRows, int kStrips>
__global__ void __launch_bounds__(kThreads, kRows* kStrips == 1 ? 3 : 2)
    RetainFewKernel(FewArguments arguments) {
  extern __shared__ float shared[];
  LetNextKernelBegin();
  AwaitEarlierKernels();
  const int32_t piece = arguments.starts[blockIdx.x] + arguments.piece;
  if (piece >= arguments.starts[blockIdx.x + 1]) return;
  __shared__ RetentionPiece shared_piece;
  if (threadIdx.x == 0) shared_piece = arguments.pieces[piece];
  __syncthreads();
  FewBlock<kRows, kStrips>(arguments, shared_piece, shared).Run();
}

template <int kRows, int kStrips>
cudaError_t Launch(const FewArguments& arguments, int32_t segments, KernelQueue queue) {
  using Block = FewBlock<kRows, kStrips>;
  const RetentionShape& shape = arguments.states.shape;
  const dim3 grid(segments, shape.heads, (shape.value_dim + Block::kColumns - 1) / Block::kColumns);
  return LaunchKernel(RetainFewKernel<kRows, kStrips>,
                      {grid, kThreads, Block::SharedBytes(shape.key_dim)}, queue, arguments);
}

}  // namespace

int32_t FewColumns(const RetentionShape& shape, int32_t segments) {
  const int64_t strips =
      int64_t{segments} * shape.heads * ((shape.value_dim + kStripColumns - 1) / kStripColumns);
  return strips >= 4 * kEnoughBlocks   ? 4 * kStripColumns
         : strips >= 2 * kEnoughBlocks ? 2 * kStripColumns
                                       : kStripColumns;
}

cudaError_t RetainFew(const RetentionPiece* pieces, const int32_t* starts,
                      const RetentionExtent& extent, int32_t piece, const RetentionInputs& inputs,
                      const StatesView& states, MatrixView<float> out, KernelQueue queue) {
  const FewArguments arguments{
      pieces, starts, piece, static_cast<float>(1 / std::sqrt(states.shape.key_dim)),
      inputs, states, out};
  if (extent.rows > 1) return Launch<8, 1>(arguments, extent.segments, queue);
  switch (FewColumns(states.shape, extent.segments) / kStripColumns) {
    case 4:
      return Launch<1, 4>(arguments, extent.segments, queue);
    case 2:
      return Launch<1, 2>(arguments, extent.segments, queue);
    default:
      return Launch<1, 1>(arguments, extent.segments, queue);
  }
}

}  // namespace retnet
