// Tiles of bf16 rows in shared memory, filled by asynchronous copies and read as operands of
// mma.m16n8k16.
#ifndef RETNET_KERNELS_CUDA_RETENTION_TILE_CUH_
#define RETNET_KERNELS_CUDA_RETENTION_TILE_CUH_

#include <cuda_bf16.h>

#include <cstdint>

#include "kernels/cuda/retention/fold.cuh"
#include "kernels/cuda/retention/states_view.h"
#include "kernels/cuda/runtime/block_reduce.cuh"
#include "kernels/operands.h"

namespace retnet::cuda {

// Starts to copy 16 bytes to shared memory; zeros if `from` is null. `any` is a valid global
// address, which the instruction needs in that case but does not read.
__device__ inline void CopyAsync(void* to, const void* from, const void* any) {
  const auto address = static_cast<unsigned>(__cvta_generic_to_shared(to));
  const int bytes = from != nullptr ? 16 : 0;
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(address),
               "l"(from != nullptr ? from : any), "r"(bytes)
               : "memory");
}
__device__ inline void CommitCopies() { asm volatile("cp.async.commit_group;" ::: "memory"); }
// Waits for all groups of copies of this thread except the newest kLeft.
template <int kLeft>
__device__ inline void WaitForCopies() {
  asm volatile("cp.async.wait_group %0;" ::"n"(kLeft) : "memory");
}

// A tile [kChunk, kColumns], row-major. Rows are padded by 16 bytes, so that eight consecutive rows
// are in different banks.
template <int kColumns>
struct Tile {
  static constexpr int kStride = kColumns + 8;
  static constexpr int kSize = kChunk * kStride;
  static constexpr int kVector = 8;  // elements of one copy

  __nv_bfloat16* data;

  __device__ __nv_bfloat16* at(int row, int column) const { return data + row * kStride + column; }

  // Starts to copy kChunk rows; all threads of the block must call it. source(row) points to the
  // row in global memory, which has `columns` (a multiple of kVector) elements, or is nullptr.
  // Everything else becomes zero.
  template <typename Source>
  __device__ void StartCopy(int32_t columns, const void* any, const Source& source) const {
    constexpr int kVectors = kColumns / kVector;
    for (int i = threadIdx.x; i < kChunk * kVectors; i += blockDim.x) {
      const int row = i / kVectors;
      const int column = i % kVectors * kVector;
      const __nv_bfloat16* from = column < columns ? source(row) : nullptr;
      CopyAsync(at(row, column), from != nullptr ? from + column : nullptr, any);
    }
  }

  // The 16 × 16 elements from (row, column) on, as operand A.
  __device__ FragmentA A(int row, int column) const {
    FragmentA a;
    const int lane = Lane();
    const auto address = static_cast<unsigned>(
        __cvta_generic_to_shared(at(row + lane % 16, column + lane / 16 * 8)));
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(a.x[0]), "=r"(a.x[1]), "=r"(a.x[2]), "=r"(a.x[3])
                 : "r"(address)
                 : "memory");
    return a;
  }
  // The same elements, transposed, as operand A.
  __device__ FragmentA TransposedA(int row, int column) const {
    const int lane = Lane();
    return LoadTransposed(row + lane / 16 * 8 + lane % 8, column + lane / 8 % 2 * 8);
  }
  // The 16 × 16 elements as two operands B of 16 × 8: x[0], x[1] are the first 8 columns, x[2],
  // x[3] the last 8.
  __device__ FragmentA B(int row, int column) const {
    const int lane = Lane();
    return LoadTransposed(row + lane % 16, column + lane / 16 * 8);
  }
  // The same elements, transposed, as operand B: the product sums over their columns.
  __device__ FragmentA TransposedB(int row, int column) const {
    FragmentA b = A(row, column);
    const unsigned second = b.x[1];
    b.x[1] = b.x[2];
    b.x[2] = second;
    return b;
  }

 private:
  __device__ FragmentA LoadTransposed(int row, int column) const {
    FragmentA fragment;
    const auto address = static_cast<unsigned>(__cvta_generic_to_shared(at(row, column)));
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(fragment.x[0]), "=r"(fragment.x[1]), "=r"(fragment.x[2]),
                   "=r"(fragment.x[3])
                 : "r"(address)
                 : "memory");
    return fragment;
  }
};

// The addresses of the tokens of a piece's chunk. Tokens before the piece are in the tail; the
// tokens of the piece are prepared rows.
struct ChunkTokens {
  const StatesView& states;
  int32_t layer;
  int32_t kv_head;

  __device__ const __nv_bfloat16* Key(const RetentionPiece& piece, int32_t j) const {
    if (j < piece.tail) {
      return states.TailKeys(piece.slot, layer, kv_head) + j * states.padded_key_dim;
    }
    if (j >= piece.tail + piece.rows) return nullptr;
    return states.PreparedKey(piece.first_row + j - piece.tail, kv_head);
  }
  __device__ const __nv_bfloat16* Value(const RetentionPiece& piece, int32_t j) const {
    if (j < piece.tail) {
      return states.TailValues(piece.slot, layer, kv_head) + j * states.padded_value_dim;
    }
    if (j >= piece.tail + piece.rows) return nullptr;
    return states.PreparedValue(piece.first_row + j - piece.tail, kv_head);
  }
};

}  // namespace retnet::cuda

#endif  // RETNET_KERNELS_CUDA_RETENTION_TILE_CUH_
