// How the operands of skinny.cu reach a block: the weight through a ring of each lane, x in chunks.
#ifndef RETNET_KERNELS_CUDA_MATMUL_SKINNY_OPERANDS_CUH_
#define RETNET_KERNELS_CUDA_MATMUL_SKINNY_OPERANDS_CUH_

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "kernels/cuda/matmul/skinny.h"

namespace retnet::cuda {

constexpr int kSkinnyThreads = 128;
constexpr int kSkinnyWarps = kSkinnyThreads / 32;
constexpr int kTileOutputs = 16;       // outputs of a tile of a warp: m of the mma
constexpr int kLine = 128;             // bytes of a row of the weight per step
constexpr int kPieces = 4;             // pieces of 16 bytes that a lane loads of a tile per step
constexpr int kStagedElements = 4096;  // elements of a chunk of x, over all rows

// Tiles of outputs per warp. Two for bf16 and many rows: then repeated reads of x are expensive,
// and registers and shared memory suffice.
constexpr int WarpTiles(ElementType type, int64_t rows) {
  return type == ElementType::kBFloat16 && rows > 8 ? 2 : 1;
}
// Outputs of a block.
constexpr int BlockOutputs(ElementType type, int64_t rows) {
  return kSkinnyWarps * kTileOutputs * WarpTiles(type, rows);
}
// The parts of k and the scratch are computed from this, whatever the number of rows.
constexpr int kLeastBlockOutputs = BlockOutputs(ElementType::kFloat32, 1);

// The dimensions of the kernel for up to kRows rows of x: 8, 16, 32 or 64.
template <typename Warp, int kRows>
struct SkinnyShape {
  using Staged = typename Warp::Staged;
  static constexpr int kTiles = WarpTiles(Warp::kType, kRows);
  static constexpr int kOutputs = BlockOutputs(Warp::kType, kRows);
  // Floats between rows of finished sums in shared memory. Rows are 16-byte aligned, and lanes with
  // four different rows use four different banks.
  static constexpr int kSumStride = kOutputs + 4;
  static constexpr int kStages = kTiles == 1 ? 4 : 3;  // steps in the ring
  static constexpr int kStepInputs = kPieces / 2 * 4 * Warp::kInputs;
  static constexpr int kChunkInputs = kStagedElements / kRows;
  static constexpr int kChunkSteps = kChunkInputs / kStepInputs;
  static constexpr int kStride = kChunkInputs + Warp::kPad;
  // Half a warp stages a row: 16 lanes with 4 elements each.
  static constexpr int kThreadRows = kRows / (kSkinnyThreads / 16);
  static constexpr int kThreadFours = kChunkInputs / 64;
  static constexpr int kRingBytes = kStages * kTiles * kPieces * kSkinnyThreads * 16;
  static constexpr int kSharedBytes =
      kRingBytes + 2 * kRows * kStride * static_cast<int>(sizeof(Staged));
  // Blocks per multiprocessor that the registers must allow.
  static constexpr int kBlocks = kTiles == 2 || kRows == 64 ? 2 : 3;
  static_assert(kChunkSteps > 0 && kRows * kSumStride * sizeof(float) <= kRingBytes);
};

// Columns of y that the outputs of a block produce. With kGate, gate and up produce one column.
__host__ __device__ inline int BlockColumns(SkinnyEpilogue epilogue, int outputs) {
  return epilogue == SkinnyEpilogue::kGate ? outputs / 2 : outputs;
}

// Streams the pieces of the weight that one lane loads. They go through a ring in shared memory
// that no other thread touches.
template <typename S>
class WeightStream {
 public:
  // For steps [first, end).
  __device__ WeightStream(const SkinnyMatMul& p, uint4* ring, int first, int end)
      : slots_(ring + threadIdx.x), step_(first), end_(end) {
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    const int columns = BlockColumns(p.epilogue, S::kOutputs);
    const int in_block = warp * S::kTiles * kTileOutputs + lane / 4;
#pragma unroll
    for (int i = 0; i < kRows; ++i) {
      const int column = (in_block + 8 * i) % columns;
      const int y_column = blockIdx.x * columns + column;
      const int half = (in_block + 8 * i) / columns;  // 1: a row of `up`
      valid_[i] = y_column < p.y.columns;
      const int64_t output = valid_[i] ? y_column + half * p.y.columns : 0;
      rows_[i] = p.weight + output * p.stride_bytes + lane % 4 * 16;
    }
    for (int i = 0; i < S::kStages - 1; ++i) Copy();
  }

  // Starts the copy of the next step.
  __device__ void Copy() {
    if (step_ < end_) {
#pragma unroll
      for (int i = 0; i < S::kTiles * kPieces; ++i) {
        const std::byte* from = rows_[i / 2] + int64_t{step_} * kLine + i % 2 * (kLine / 2);
        const auto to = static_cast<uint32_t>(__cvta_generic_to_shared(Slot(copied_, i)));
        // Rows beyond the weight are filled with zeros.
        asm volatile("cp.async.cg.shared.global.L2::128B [%0], [%1], 16, %2;\n" ::"r"(to),
                     "l"(from), "r"(valid_[i / 2] ? 16 : 0)
                     : "memory");
      }
    }
    ++step_;
    ++copied_;
    asm volatile("cp.async.commit_group;\n" ::: "memory");
  }

  // Waits for the oldest step that has not been taken. Returns the pieces of rows g, g, g + 8, g +
  // 8 of each tile; g = lane / 4.
  __device__ void Take(uint4 (&pieces)[S::kTiles][kPieces]) {
    asm volatile("cp.async.wait_group %0;\n" ::"n"(S::kStages - 2) : "memory");
#pragma unroll
    for (int i = 0; i < S::kTiles * kPieces; ++i)
      pieces[i / kPieces][i % kPieces] = *Slot(taken_, i);
    ++taken_;
  }

 private:
  static constexpr int kRows = 2 * S::kTiles;  // rows of the weight that the lane loads

  __device__ uint4* Slot(int step, int piece) const {
    return slots_ + (step % S::kStages * (S::kTiles * kPieces) + piece) * kSkinnyThreads;
  }

  const std::byte* rows_[kRows];
  bool valid_[kRows];
  uint4* slots_;
  int step_;
  int end_;
  int copied_ = 0;
  int taken_ = 0;
};

// The first `count` of four numbers; the others are zero. With kAligned, `count` selects all or
// none.
template <bool kAligned>
__device__ float4 LoadFour(const float* x, int count) {
  float4 four = make_float4(0, 0, 0, 0);
  if constexpr (kAligned) {
    if (count > 0) four = *reinterpret_cast<const float4*>(x);
  } else {
    if (count > 0) four.x = x[0];
    if (count > 1) four.y = x[1];
    if (count > 2) four.z = x[2];
    if (count > 3) four.w = x[3];
  }
  return four;
}

__device__ inline bool IsAligned(const float* x) {
  return reinterpret_cast<uintptr_t>(x) % sizeof(float4) == 0;
}

// Copies chunks of x from global to shared memory, multiplied by the norm's weight, and sums the
// squares from which the norm's scale is computed later. Each of the 16 lanes of a row sums in
// ascending order of k, then the lanes are added. This order does not depend on the number of rows.
template <typename Warp, int kRows>
class ActivationChunks {
  using S = SkinnyShape<Warp, kRows>;
  using Staged = typename Warp::Staged;

 public:
  __device__ ActivationChunks(const SkinnyMatMul& p, int end)
      : p_(p),
        end_(min(end, p.inputs)),
        aligned_(p.inputs % 4 == 0 && p.x.stride % 4 == 0 && IsAligned(p.x.data) &&
                 IsAligned(p.norm.weight)) {
#pragma unroll
    for (float4& weight : weights_) weight = make_float4(1, 1, 1, 1);
  }

  // Reads the chunk that begins at element `first` of k into registers.
  __device__ void Load(int first) {
    if (aligned_) {
      LoadChunk<true>(first);
    } else {
      LoadChunk<false>(first);
    }
  }

  __device__ void Store(Staged* chunk) {
#pragma unroll
    for (int i = 0; i < S::kThreadRows; ++i) {
      Staged* to = chunk + Row(i) * S::kStride + threadIdx.x % 16 * 4;
#pragma unroll
      for (int j = 0; j < S::kThreadFours; ++j) {
        const float4 x = fours_[i][j], weight = weights_[j];
        squares_[i] = fmaf(x.x, x.x, squares_[i]);
        squares_[i] = fmaf(x.y, x.y, squares_[i]);
        squares_[i] = fmaf(x.z, x.z, squares_[i]);
        squares_[i] = fmaf(x.w, x.w, squares_[i]);
        alignas(16) Staged staged[4] = {Warp::Round(x.x * weight.x), Warp::Round(x.y * weight.y),
                                        Warp::Round(x.z * weight.z), Warp::Round(x.w * weight.w)};
        using Four = std::conditional_t<sizeof(Staged) == 4, float4, uint2>;
        *reinterpret_cast<Four*>(to + 64 * j) = *reinterpret_cast<const Four*>(staged);
      }
    }
  }

  // Stores Σ x² of each row over the block's part of k.
  __device__ void StoreSquares(float* squares) {
#pragma unroll
    for (int i = 0; i < S::kThreadRows; ++i) {
      float sum = squares_[i];
#pragma unroll
      for (int offset = 8; offset > 0; offset /= 2) sum += __shfl_xor_sync(~0u, sum, offset);
      if (threadIdx.x % 16 == 0) squares[Row(i)] = sum;
    }
  }

 private:
  // The row of x that is the thread's i-th.
  static __device__ int Row(int i) { return threadIdx.x / 16 + kSkinnyThreads / 16 * i; }

  // Issues all loads of a chunk at once, so that their latencies overlap.
  template <bool kAligned>
  __device__ void LoadChunk(int first) {
    first += threadIdx.x % 16 * 4;
#pragma unroll
    for (int i = 0; i < S::kThreadRows; ++i) {
      const float* x = p_.x.data + Row(i) * p_.x.stride + first;
      const int count = Row(i) < p_.x.rows ? end_ - first : 0;
#pragma unroll
      for (int j = 0; j < S::kThreadFours; ++j) {
        fours_[i][j] = LoadFour<kAligned>(x + 64 * j, count - 64 * j);
      }
    }
    if (p_.norm.weight == nullptr) return;
    const float* weight = p_.norm.weight + first;
    const int count = Row(0) < p_.x.rows ? end_ - first : 0;
#pragma unroll
    for (int j = 0; j < S::kThreadFours; ++j) {
      weights_[j] = LoadFour<kAligned>(weight + 64 * j, count - 64 * j);
    }
  }

  const SkinnyMatMul& p_;
  const int end_;
  const bool aligned_;
  float4 fours_[S::kThreadRows][S::kThreadFours];
  float4 weights_[S::kThreadFours];  // of the norm
  float squares_[S::kThreadRows] = {};
};

}  // namespace retnet::cuda

#endif  // RETNET_KERNELS_CUDA_MATMUL_SKINNY_OPERANDS_CUH_
