#include <algorithm>
#include <cstdint>

#include "kernels/cuda/retention/base_element.cuh"
#include "kernels/cuda/retention/fold.cuh"
#include "kernels/cuda/retention/prefill.h"
#include "kernels/cuda/retention/tile.cuh"
#include "kernels/cuda/runtime/block_reduce.cuh"

namespace retnet::cuda {
namespace {

// A block goes through the pieces of a segment for 64 value columns of one head. Its tile of the
// base stays in registers as fp32, transposed as in fold.cuh. A warp holds 16 columns and half of
// the keys. At the end of a piece, the sums of the two halves are added. Copies overlap arithmetic:
// k, v and the weights of the chunk arrive while q is multiplied by the base, and the q of the next
// piece arrives while the chunk is folded.
constexpr int kRowTiles = kChunk / 16;
constexpr int kColumns = kPrefillColumns;
constexpr int kColumnGroups = kColumns / kTileColumns;
constexpr int kHalves = 2;
constexpr int kThreads = kColumnGroups * kHalves * kWarp;
constexpr int kExchanged = kRowTiles / kHalves * 2 * 4;  // numbers of a lane for the other half

template <int kKeys, typename Base>
class PrefillBlock {
 public:
  static constexpr int kQueryBytes = std::max<int>(Tile<kKeys>::kSize * sizeof(__nv_bfloat16),
                                                   kExchanged* kThreads * sizeof(float));
  static constexpr int kSharedBytes =
      kQueryBytes + (Tile<kKeys>::kSize + 2 * Tile<kColumns>::kSize) * sizeof(__nv_bfloat16);

  __device__ PrefillBlock(const PrefillArguments& arguments, char* shared)
      : arguments_(arguments),
        states_(arguments.states),
        head_(blockIdx.y),
        kv_head_(head_ / (states_.shape.heads / states_.shape.kv_heads)),
        first_column_(blockIdx.z * kColumns),
        group_(threadIdx.x / kWarp % kColumnGroups),
        half_(threadIdx.x / kWarp / kColumnGroups),
        queries_{reinterpret_cast<__nv_bfloat16*>(shared)},
        keys_{reinterpret_cast<__nv_bfloat16*>(shared + kQueryBytes)},
        values_{keys_.data + Tile<kKeys>::kSize},
        weights_{values_.data + Tile<kColumns>::kSize},
        exchange_(reinterpret_cast<float*>(shared)) {}

  __device__ void Run(int32_t index, int32_t end) {
    RetentionPiece piece = arguments_.pieces[index];
    float state[kKeyTiles][4] = {};
    if (piece.folds) {
      FoldTail(piece, state);
      StoreFolded(index, end, piece, state);
    } else if (piece.base != kZeroBase) {
      LoadState(piece.base, state);
    }
    StartQueries(piece);
    StartTokens(piece);
    while (true) {
      WaitForCopies<1>();
      __syncthreads();
      float sums[kRowTiles][2][4] = {};
      if (piece.base != kZeroBase) AddBase(piece, state, sums);
      WaitForCopies<0>();
      __syncthreads();  // no warp reads q any more
      AddTokens(piece, sums);
      if (half_ == 0) {
        Give<0>(sums);
      } else {
        Give<1>(sums);
      }
      __syncthreads();
      if (half_ == 0) {
        WriteRows<0>(piece, sums);
      } else {
        WriteRows<1>(piece, sums);
      }
      if (++index == end) return;
      piece = arguments_.pieces[index];
      __syncthreads();  // no warp reads the exchanged sums any more
      StartQueries(piece);
      FoldTokens(state);
      StoreFolded(index, end, piece, state);
      __syncthreads();  // no warp reads k, v or the weights any more
      StartTokens(piece);
    }
  }

 private:
  static constexpr int kHalfKeys = kKeys / kHalves;
  static constexpr int kKeyTiles = kHalfKeys / kTileKeys;

  __device__ void StartQueries(const RetentionPiece& piece) const {
    queries_.StartCopy(states_.padded_key_dim, states_.prepared_queries, [&](int32_t row) {
      return row < piece.rows ? states_.PreparedQuery(piece.first_row + row, head_) : nullptr;
    });
    CommitCopies();
  }

  // Starts to copy k and v of a chunk. Does not commit the copies.
  __device__ void StartKeysAndValues(const RetentionPiece& piece) const {
    const ChunkTokens tokens{states_, arguments_.inputs.layer, kv_head_};
    keys_.StartCopy(states_.padded_key_dim, states_.prepared_keys,
                    [&](int32_t j) { return tokens.Key(piece, j); });
    values_.StartCopy(states_.padded_value_dim - first_column_, states_.prepared_values,
                      [&](int32_t j) {
                        const __nv_bfloat16* row = tokens.Value(piece, j);
                        return row != nullptr ? row + first_column_ : nullptr;
                      });
  }

  __device__ void StartTokens(const RetentionPiece& piece) const {
    StartKeysAndValues(piece);
    weights_.StartCopy(kChunk, states_.prepared_weights, [&](int32_t row) {
      return row < piece.rows ? states_.PreparedWeights(piece.first_row + row, head_) : nullptr;
    });
    CommitCopies();
  }

  // Calls body(element, offset) for the numbers of the state that lie inside the base.
  template <typename Body>
  __device__ void ForState(float (&state)[kKeyTiles][4], const Body& body) const {
#pragma unroll
    for (int n = 0; n < kKeyTiles; ++n) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const int32_t key = half_ * kHalfKeys + n * kTileKeys + Lane() % 4 * 2 + i % 2;
        const int32_t column = first_column_ + group_ * kTileColumns + Lane() / 4 + i / 2 * 8;
        if (key < states_.shape.key_dim && column < states_.shape.value_dim) {
          body(state[n][i], key * states_.padded_value_dim + column);
        }
      }
    }
  }

  __device__ void LoadState(int32_t base, float (&state)[kKeyTiles][4]) const {
    const Base* elements = states_.Base<Base>(base, arguments_.inputs.layer, head_);
    ForState(state,
             [&](float& x, int32_t offset) { x = BaseElement<Base>::Widened(elements[offset]); });
  }

  // Stores the base that piece `index` folded. Skips it if the next piece folds the same base
  // again.
  __device__ void StoreFolded(int32_t index, int32_t end, const RetentionPiece& piece,
                              float (&state)[kKeyTiles][4]) const {
    if (index + 1 < end && arguments_.pieces[index + 1].base == piece.base) return;
    Base* elements = states_.Base<Base>(piece.base, arguments_.inputs.layer, head_);
    ForState(state,
             [&](float& x, int32_t offset) { elements[offset] = BaseElement<Base>::Stored(x); });
  }

  // Folds the full tail with which the segment begins into the state. Only for its first piece.
  __device__ void FoldTail(const RetentionPiece& piece, float (&state)[kKeyTiles][4]) const {
    RetentionPiece before = piece;
    before.tail = kChunk;
    before.rows = 0;
    StartKeysAndValues(before);
    CommitCopies();
    if (piece.fold_source != kZeroBase) LoadState(piece.fold_source, state);
    WaitForCopies<0>();
    __syncthreads();
    FoldTokens(state);
    __syncthreads();
  }

  // state' = γ^C state + Σ_j (γ^(C−1−j) v_j) k_jᵀ over the chunk in shared memory. The registers
  // hold unrounded numbers; reads go through AsStored, as if the state had been stored in between.
  __device__ void FoldTokens(float (&state)[kKeyTiles][4]) const {
    const float* decays = states_.Decays(head_);
    const float decay = decays[kChunk];
#pragma unroll
    for (auto& tile : state) {
#pragma unroll
      for (float& x : tile) x = decay * AsStored<Base>(x);
    }
#pragma unroll 1
    for (int step = 0; step < kFoldSteps; ++step) {
      const FragmentA v = values_.TransposedA(step * kFoldTokens, group_ * kTileColumns);
      DecayedValues decayed;
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const int32_t token = step * kFoldTokens + Lane() % 4 * 2 + i / 2 * 8;
        decayed.Set(i, __ushort_as_bfloat16(static_cast<uint16_t>(v.x[i])),
                    __ushort_as_bfloat16(static_cast<uint16_t>(v.x[i] >> 16)),
                    decays[kChunk - 1 - token], decays[kChunk - 2 - token]);
      }
#pragma unroll
      for (int n = 0; n < kKeyTiles; n += 2) {
        const FragmentA k = keys_.B(step * kFoldTokens, half_ * kHalfKeys + n * kTileKeys);
        FoldStep(decayed, k.x[0], k.x[1], state[n]);
        FoldStep(decayed, k.x[2], k.x[3], state[n + 1]);
      }
    }
  }

  // sums = γ^(t+1) q·state over the keys of the warp.
  __device__ void AddBase(const RetentionPiece& piece, const float (&state)[kKeyTiles][4],
                          float (&sums)[kRowTiles][2][4]) const {
#pragma unroll
    for (int n = 0; n < kKeyTiles; n += 2) {
      unsigned b[2][2];  // of columns 0 to 7 and 8 to 15; keys 0 to 7 and 8 to 15
#pragma unroll
      for (int i = 0; i < 2; ++i) {
#pragma unroll
        for (int k = 0; k < 2; ++k) {
          b[i][k] = Packed(__float2bfloat16_rn(AsStored<Base>(state[n + k][2 * i])),
                           __float2bfloat16_rn(AsStored<Base>(state[n + k][2 * i + 1])));
        }
      }
#pragma unroll
      for (int m = 0; m < kRowTiles; ++m) {
        if (m * 16 >= piece.rows) continue;
        const FragmentA q = queries_.A(m * 16, half_ * kHalfKeys + n * kTileKeys);
        MultiplyAdd(q, b[0][0], b[0][1], sums[m][0]);
        MultiplyAdd(q, b[1][0], b[1][1], sums[m][1]);
      }
    }
    const float* decays = states_.Decays(head_);
#pragma unroll
    for (int m = 0; m < kRowTiles; ++m) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const int32_t t = piece.tail + m * 16 + Lane() / 4 + i / 2 * 8;
        const float decay = decays[min(t + 1, kChunk)];
        sums[m][0][i] *= decay;
        sums[m][1][i] *= decay;
      }
    }
  }

  // sums += weights·v over half of the tokens.
  __device__ void AddTokens(const RetentionPiece& piece, float (&sums)[kRowTiles][2][4]) const {
    constexpr int kHalfTokens = kChunk / kHalves;
#pragma unroll
    for (int j = 0; j < kHalfTokens; j += 16) {
      const int token = half_ * kHalfTokens + j;
      if (token >= piece.tail + piece.rows) break;
      const FragmentA v = values_.B(token, group_ * kTileColumns);
#pragma unroll
      for (int m = 0; m < kRowTiles; ++m) {
        if (m * 16 >= piece.rows || token >= piece.tail + (m + 1) * 16) continue;
        const FragmentA w = weights_.A(m * 16, token);
        MultiplyAdd(w, v.x[0], v.x[1], sums[m][0]);
        MultiplyAdd(w, v.x[2], v.x[3], sums[m][1]);
      }
    }
  }

  // Puts the sums of the rows that the other half writes into shared memory.
  template <int kHalf>
  __device__ void Give(const float (&sums)[kRowTiles][2][4]) const {
    constexpr int kFirstTile = (1 - kHalf) * kRowTiles / kHalves;
#pragma unroll
    for (int i = 0; i < kExchanged; ++i) {
      exchange_[i * kThreads + threadIdx.x] = sums[kFirstTile + i / 8][i / 4 % 2][i % 4];
    }
  }

  // Adds the sums of the other half to those of this half and writes this half of the rows.
  template <int kHalf>
  __device__ void WriteRows(const RetentionPiece& piece,
                            const float (&sums)[kRowTiles][2][4]) const {
    constexpr int kFirstTile = kHalf * kRowTiles / kHalves;
    const int other = threadIdx.x ^ (kColumnGroups * kWarp);
#pragma unroll
    for (int i = 0; i < kExchanged; ++i) {
      const int m = kFirstTile + i / 8;
      const int32_t row = m * 16 + Lane() / 4 + i % 4 / 2 * 8;
      const int32_t column =
          first_column_ + group_ * kTileColumns + i / 4 % 2 * 8 + Lane() % 4 * 2 + i % 2;
      if (row >= piece.rows || column >= states_.shape.value_dim) continue;
      arguments_.out.row(piece.first_row + row)[int64_t{head_} * states_.shape.value_dim + column] =
          sums[m][i / 4 % 2][i % 4] + exchange_[i * kThreads + other];
    }
  }

  const PrefillArguments& arguments_;
  const StatesView& states_;
  const int32_t head_;
  const int32_t kv_head_;
  const int32_t first_column_;
  const int group_;  // which 16 columns
  const int half_;   // which half of the keys, and of the tokens
  const Tile<kKeys> queries_;
  const Tile<kKeys> keys_;
  const Tile<kColumns> values_;
  const Tile<kColumns> weights_;
  float* const exchange_;  // [kExchanged, kThreads], in the memory of q
};

// The number of blocks per SM to compile for. With heads of 256 it is one before sm_90, where
// shared memory holds only one, and from sm_100 on, where ptxas would spill registers to fit two.
template <int kKeys>
constexpr int kBlocksOfSm =
#if defined(__CUDA_ARCH__) && (__CUDA_ARCH__ < 900 || __CUDA_ARCH__ >= 1000)
    kKeys > 128 ? 1 :
#endif
                2;

template <int kKeys, typename Base>
__global__ void __launch_bounds__(kThreads, kBlocksOfSm<kKeys>)
    RetainRowsKernel(PrefillArguments arguments) {
  extern __shared__ uint4 shared[];
  const int32_t first = arguments.starts[blockIdx.x];
  const int32_t end = arguments.starts[blockIdx.x + 1];
  if (first == end) return;
  PrefillBlock<kKeys, Base>(arguments, reinterpret_cast<char*>(shared)).Run(first, end);
}

template <int kKeys, typename Base>
cudaError_t Launch(const PrefillArguments& arguments, dim3 grid, cudaStream_t stream) {
  constexpr int kBytes = PrefillBlock<kKeys, Base>::kSharedBytes;
  const cudaError_t error = cudaFuncSetAttribute(
      RetainRowsKernel<kKeys, Base>, cudaFuncAttributeMaxDynamicSharedMemorySize, kBytes);
  if (error != cudaSuccess) return error;
  RetainRowsKernel<kKeys, Base><<<grid, kThreads, kBytes, stream>>>(arguments);
  return cudaGetLastError();
}

}  // namespace

cudaError_t RetainRows(const PrefillArguments& arguments, const RetentionExtent& extent,
                       cudaStream_t stream) {
  const RetentionShape& shape = arguments.states.shape;
  const dim3 grid(extent.segments, shape.heads, (shape.value_dim + kColumns - 1) / kColumns);
  const int32_t key_dim = arguments.states.padded_key_dim;
  return ForBaseType(shape.base_type, [&]<typename Base>(Base) {
    if (key_dim <= 64) return Launch<64, Base>(arguments, grid, stream);
    if (key_dim <= 128) return Launch<128, Base>(arguments, grid, stream);
    return Launch<kMaxPrefillKeyDim, Base>(arguments, grid, stream);
  });
}

cudaError_t RetentionPrefill(const PrefillArguments& arguments, const RetentionExtent& extent,
                             cudaStream_t stream) {
  for (const auto launch : {PrepareTokens, WeighRows, RetainRows, FinishRows}) {
    const cudaError_t error = launch(arguments, extent, stream);
    if (error != cudaSuccess) return error;
  }
  return cudaSuccess;
}

}  // namespace retnet::cuda
