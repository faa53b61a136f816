#include <algorithm>
#include <cmath>
#include <cstdint>

#include "kernels/cuda/retention/base_element.cuh"
#include "kernels/cuda/retention/decode.h"
#include "kernels/cuda/retention/decode_weights.cuh"
#include "kernels/cuda/retention/fold.cuh"
#include "kernels/cuda/retention/rows.cuh"
#include "kernels/cuda/runtime/block_reduce.cuh"
#include "kernels/cuda/runtime/launch.cuh"

namespace retnet::cuda {
namespace {

constexpr int kThreads = kDecodeThreads;
constexpr int kWarps = kDecodeWarps;
constexpr int kStripColumns = 32;  // 128 or 64 bytes of a base's row
constexpr int kThreadColumns = 4;  // one load
constexpr int kStripThreads = kStripColumns / kThreadColumns;
constexpr int kGroups = kThreads / kStripThreads;  // groups of threads; each reads whole rows
constexpr int kLoads = 8;                          // loads that a thread has in flight

constexpr int64_t kEnoughBlocks = 512;  // enough to keep any device busy

struct DecodeArguments {
  DecodeSegments segments;
  int32_t piece;
  float query_scale;
  RetentionInputs inputs;
  StatesView states;
  MatrixView<float> out;
};

// One block of the kernel. Its shared memory is that of DecodeWeights, followed by sums
// [kWarps, kRows, kColumns].
template <int kRows, int kStrips, typename Base>
class DecodeBlock {
 public:
  static constexpr int kColumns = kStrips * kStripColumns;

  static size_t SharedBytes(int32_t key_dim) {
    return sizeof(float) *
           (DecodeWeights<kRows>::SharedNumbers(key_dim) + kWarps * kRows * kColumns);
  }
  // The number of blocks of a head and segment.
  static __host__ __device__ int32_t Blocks(int32_t value_dim) {
    return (value_dim + kColumns - 1) / kColumns;
  }

  __device__ DecodeBlock(const DecodeArguments& arguments, const DecodeRows& rows, float* shared)
      : inputs_(arguments.inputs),
        states_(arguments.states),
        shape_(states_.shape),
        out_(arguments.out),
        rows_(rows),
        place_{static_cast<int32_t>(blockIdx.y),
               static_cast<int32_t>(blockIdx.y) / (shape_.heads / shape_.kv_heads),
               static_cast<int32_t>(blockIdx.x) % Blocks(shape_.value_dim),
               Blocks(shape_.value_dim)},
        first_column_(place_.block * kColumns),
        weights_(inputs_, states_, rows_, place_, arguments.query_scale, shared),
        sums_(weights_.end()) {}

  __device__ void Run() {
    if (rows_.pieces->folds) {
      FoldColumns<Base>(states_, inputs_.layer, place_.head, *rows_.pieces, first_column_,
                        kColumns);
      __syncthreads();
    }
    const int32_t rows = rows_.count();
    for (int32_t first = 0; first < rows; first += kRows) {
      RetainRows(first, min(kRows, rows - first));
    }
    if (!IsLastOfKvHead()) return;
    const int32_t group = shape_.heads / shape_.kv_heads;
    for (int32_t i = threadIdx.x / kWarp; i < rows * group; i += kWarps) {
      NormAndGate<0>(inputs_, shape_, rows_.Row(i / group), place_.kv_head * group + i % group,
                     out_);
    }
    for (int32_t reader = 0; reader < rows_.readers; ++reader) {
      AppendToTail(inputs_, states_, rows_.pieces[reader], place_.kv_head);
    }
    weights_.Clear(rows);
  }

 private:
  static constexpr int kBatch = kLoads / kStrips;  // rows of the base that a thread loads at a time

  using Four = typename BaseElement<Base>::Four;
  struct Batch {
    Four x[kBatch][kStrips];
  };

  __device__ int32_t group() const { return threadIdx.x / kStripThreads; }
  // The first of the thread's kThreadColumns columns in a strip.
  __device__ int32_t column(int strip) const {
    return first_column_ + strip * kStripColumns + threadIdx.x % kStripThreads * kThreadColumns;
  }

  // Computes rows first … first + rows − 1 from base and tails. Writes them to `out`, without the
  // norm.
  __device__ void RetainRows(int32_t first, int32_t rows) {
    const bool has_base = rows_.pieces->base != kZeroBase;
    Batch batch;
    if (has_base) LoadBase(0, &batch);  // the loads overlap the rotation of q
    weights_.RotateQueries(first, rows);
    __syncthreads();
    weights_.Weigh(first, rows);
    float sums[kRows][kStrips][kThreadColumns] = {};
    if (has_base) {
      AddBase(&batch, sums);
      const float* decays = states_.Decays(place_.head);
#pragma unroll
      for (int i = 0; i < kRows; ++i) {
        if (i >= rows) break;
        const float decay = decays[min(rows_.Before(first + i) + 1, kChunk)];
#pragma unroll
        for (int strip = 0; strip < kStrips; ++strip) {
#pragma unroll
          for (float& sum : sums[i][strip]) sum *= decay;
        }
      }
    }
    AddTokens(first, rows, sums);
    Reduce(first, rows, sums);
  }

  __device__ void LoadBase(int32_t first, Batch* batch) const {
    const Base* base = states_.Base<Base>(rows_.pieces->base, inputs_.layer, place_.head);
#pragma unroll
    for (int i = 0; i < kBatch; ++i) {
      const int32_t k = first + i * kGroups + group();
#pragma unroll
      for (int strip = 0; strip < kStrips; ++strip) {
        if (k < shape_.key_dim && column(strip) < states_.padded_value_dim) {
          batch->x[i][strip] = *reinterpret_cast<const Four*>(
              base + int64_t{k} * states_.padded_value_dim + column(strip));
        }
      }
    }
  }

  // Adds the products of q and the rows of the base that belong to the group, in ascending order.
  __device__ void AddBase(Batch* batch, float (&sums)[kRows][kStrips][kThreadColumns]) const {
    for (int32_t first = 0; first < shape_.key_dim; first += kBatch * kGroups) {
      if (first > 0) LoadBase(first, batch);
#pragma unroll
      for (int i = 0; i < kBatch; ++i) {
        const int32_t k = first + i * kGroups + group();
        if (k >= shape_.key_dim) break;
#pragma unroll
        for (int row = 0; row < kRows; ++row) {
          const float q = weights_.query(row, k);
#pragma unroll
          for (int strip = 0; strip < kStrips; ++strip) {
            float(&sum)[kThreadColumns] = sums[row][strip];
            const float4 x = BaseElement<Base>::Widened(batch->x[i][strip]);
            sum[0] = fmaf(q, x.x, sum[0]);
            sum[1] = fmaf(q, x.y, sum[1]);
            sum[2] = fmaf(q, x.z, sum[2]);
            sum[3] = fmaf(q, x.w, sum[3]);
          }
        }
      }
    }
  }

  // The v of one token for each row. Rows of the same piece share it.
  struct Values {
    uint2 x[kRows][kStrips];
  };
  __device__ void LoadValues(int32_t first, int32_t rows, int32_t j, Values* values) const {
#pragma unroll
    for (int i = 0; i < kRows; ++i) {
#pragma unroll
      for (int strip = 0; strip < kStrips; ++strip) {
        values->x[i][strip] = values->x[0][strip];
        const int32_t last = rows_.readers > 1 ? i : rows - 1;  // the last row that reads this v
        if ((i > 0 && rows_.readers == 1) || i >= rows || j > rows_.Before(first + last)) continue;
        values->x[i][strip] = TokenValues(inputs_, states_, rows_.PieceOf(first + i),
                                          place_.kv_head, j, column(strip));
      }
    }
  }

  // Adds the weighted v of the tokens that belong to the group, in ascending order.
  __device__ void AddTokens(int32_t first, int32_t rows,
                            float (&sums)[kRows][kStrips][kThreadColumns]) {
    Values values;
    constexpr bool kLoadsAhead = kRows == 1;  // load v while weights of other blocks arrive
    if (kLoadsAhead) LoadValues(first, rows, group(), &values);
    weights_.Take(first, rows);
    __syncthreads();
#pragma unroll 1
    for (int32_t j = group(); j < kChunk; j += kGroups) {
      if (!kLoadsAhead || j >= kGroups) LoadValues(first, rows, j, &values);
#pragma unroll
      for (int i = 0; i < kRows; ++i) {
        if (i >= rows || j > rows_.Before(first + i)) continue;
        const float weight = weights_(i, j);
#pragma unroll
        for (int strip = 0; strip < kStrips; ++strip) {
          const float4 v = Widened(values.x[i][strip]);
          float(&sum)[kThreadColumns] = sums[i][strip];
          sum[0] = fmaf(weight, v.x, sum[0]);
          sum[1] = fmaf(weight, v.y, sum[1]);
          sum[2] = fmaf(weight, v.z, sum[2]);
          sum[3] = fmaf(weight, v.w, sum[3]);
        }
      }
    }
  }

  // Adds up the sums of all groups, within each warp first, and writes the rows.
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
      out_.row(rows_.Row(first + i / kColumns))[int64_t{place_.head} * shape_.value_dim + column] =
          sum;
    }
  }

  // Whether this is the last block of these rows and this kv head: all others have written their
  // part of `out` and no longer read the tails. The last block resets the counter to zero.
  __device__ bool IsLastOfKvHead() {
    __shared__ bool is_last;
    __threadfence();
    __syncthreads();
    if (threadIdx.x == 0) {
      int32_t* arrivals =
          states_.arrivals + int64_t{rows_.pieces->slot} * shape_.kv_heads + place_.kv_head;
      const int32_t blocks = shape_.heads / shape_.kv_heads * place_.blocks;
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
  const DecodeRows rows_;
  const DecodePlace place_;
  const int32_t first_column_;
  DecodeWeights<kRows> weights_;
  float* const sums_;
};

template <int kRows, int kStrips, typename Base>
__global__ void __launch_bounds__(kThreads, kRows* kStrips == 1 ? 3 : 2)
    RetentionDecodeKernel(DecodeArguments arguments) {
  extern __shared__ float shared[];
  LetNextKernelBegin();
  AwaitEarlierKernels();
  using Block = DecodeBlock<kRows, kStrips, Base>;
  const DecodeSegments& segments = arguments.segments;
  const int32_t segment = blockIdx.x / Block::Blocks(arguments.states.shape.value_dim);
  const int32_t piece = segments.starts[segment] + arguments.piece;
  if (piece >= segments.starts[segment + 1]) return;
  const int32_t readers = kRows > 1 ? segments.readers[segment] : 1;
  if (readers == 0) return;
  __shared__ RetentionPiece pieces[kRows];
  if (threadIdx.x < readers) pieces[threadIdx.x] = segments.pieces[piece + threadIdx.x];
  __syncthreads();
  Block(arguments, {pieces, readers}, shared).Run();
}

template <int kRows, int kStrips, typename Base>
cudaError_t Launch(const DecodeArguments& arguments, int32_t segments, KernelQueue queue) {
  using Block = DecodeBlock<kRows, kStrips, Base>;
  const RetentionShape& shape = arguments.states.shape;
  const dim3 grid(segments * Block::Blocks(shape.value_dim), shape.heads);
  return LaunchKernel(RetentionDecodeKernel<kRows, kStrips, Base>,
                      {grid, kThreads, Block::SharedBytes(shape.key_dim)}, queue, arguments);
}

// The number of value columns of a block, for a launch of this extent. Few columns let even one
// sequence fill the device. If there are enough blocks anyway, more columns are better, because
// every block of a head rotates q again. The bits do not depend on this number.
int32_t DecodeColumns(const RetentionShape& shape, const RetentionExtent& extent) {
  if (extent.rows > 1 || extent.shares_bases) return kStripColumns;
  const int64_t strips = int64_t{extent.segments} * shape.heads *
                         ((shape.value_dim + kStripColumns - 1) / kStripColumns);
  return strips >= 4 * kEnoughBlocks   ? 4 * kStripColumns
         : strips >= 2 * kEnoughBlocks ? 2 * kStripColumns
                                       : kStripColumns;
}

}  // namespace

cudaError_t RetentionDecode(const DecodeSegments& segments, const RetentionExtent& extent,
                            int32_t piece, const RetentionInputs& inputs, const StatesView& states,
                            MatrixView<float> out, KernelQueue queue) {
  const DecodeArguments arguments{
      segments, piece,  static_cast<float>(1 / std::sqrt(states.shape.key_dim)),
      inputs,   states, out};
  return ForBaseType(states.shape.base_type, [&]<typename Base>(Base) {
    if (extent.rows > 1 || extent.shares_bases) {
      return Launch<kMostReaders, 1, Base>(arguments, extent.segments, queue);
    }
    switch (DecodeColumns(states.shape, extent) / kStripColumns) {
      case 4:
        return Launch<1, 4, Base>(arguments, extent.segments, queue);
      case 2:
        return Launch<1, 2, Base>(arguments, extent.segments, queue);
      default:
        return Launch<1, 1, Base>(arguments, extent.segments, queue);
    }
  });
}

}  // namespace retnet::cuda
