// How kernels address the memory of bases and tails.
#ifndef RETNET_KERNELS_CUDA_RETENTION_STATES_VIEW_H_
#define RETNET_KERNELS_CUDA_RETENTION_STATES_VIEW_H_

#include <cuda_bf16.h>
#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>

#include "kernels/operands.h"

namespace retnet::cuda {

// The bits of an exchanged weight that has not arrived. No arithmetic produces this NaN.
constexpr uint32_t kNoWeight = 0xFFFFFFFF;

// Pointers are to device memory that CudaStates owns. Rows are padded so that they are 16-byte
// aligned: bases and v of tails to a multiple of 8 columns, k of tails to a multiple of 16. The
// padding of tails is always zero; the padding of bases is arbitrary.
struct StatesView {
  RetentionShape shape;
  int32_t padded_key_dim = 0;
  int32_t padded_value_dim = 0;
  const float* decays = nullptr;  // [heads, kChunk + 1] γ^n, computed in double
  // [slots, layers, heads, key_dim, padded_value_dim] of shape.base_type
  std::byte* bases = nullptr;
  __nv_bfloat16* tail_keys = nullptr;    // [slots, layers, kv_heads, kChunk, padded_key_dim]
  __nv_bfloat16* tail_values = nullptr;  // [slots, layers, kv_heads, kChunk, padded_value_dim]
  int32_t* arrivals = nullptr;           // [slots, kv_heads] finished blocks; zero between launches
  // [max_rows, heads, kChunk] γ^(t−j) q·k_j of sampled rows, which the blocks of a head exchange.
  // All kNoWeight between launches.
  float* exchanged_weights = nullptr;

  // Prompt rows of a call, prepared for tensor cores. Their padding is zero.
  __nv_bfloat16* prepared_queries = nullptr;  // [max_rows, heads, padded_key_dim]
  __nv_bfloat16* prepared_keys = nullptr;     // [max_rows, kv_heads, padded_key_dim]
  __nv_bfloat16* prepared_values = nullptr;   // [max_rows, kv_heads, padded_value_dim]
  // [max_rows, heads, kChunk] γ^(t−j) q·k_j; 0 for j > t.
  __nv_bfloat16* prepared_weights = nullptr;

  __host__ __device__ int64_t TailIndex(int32_t slot, int32_t layer, int32_t kv_head) const {
    return (int64_t{slot} * shape.layers + layer) * shape.kv_heads + kv_head;
  }
  // The base of one head, [key_dim, padded_value_dim]. Element is the C++ type of shape.base_type.
  template <typename Element>
  __host__ __device__ Element* Base(int32_t base, int32_t layer, int32_t head) const {
    const int64_t matrix = (int64_t{base} * shape.layers + layer) * shape.heads + head;
    return reinterpret_cast<Element*>(bases) + matrix * shape.key_dim * padded_value_dim;
  }
  __host__ __device__ __nv_bfloat16* TailKeys(int32_t slot, int32_t layer, int32_t kv_head) const {
    return tail_keys + TailIndex(slot, layer, kv_head) * kChunk * padded_key_dim;
  }
  __host__ __device__ __nv_bfloat16* TailValues(int32_t slot, int32_t layer,
                                                int32_t kv_head) const {
    return tail_values + TailIndex(slot, layer, kv_head) * kChunk * padded_value_dim;
  }
  __host__ __device__ __nv_bfloat16* PreparedQuery(int64_t row, int32_t head) const {
    return prepared_queries + (row * shape.heads + head) * padded_key_dim;
  }
  __host__ __device__ __nv_bfloat16* PreparedKey(int64_t row, int32_t kv_head) const {
    return prepared_keys + (row * shape.kv_heads + kv_head) * padded_key_dim;
  }
  __host__ __device__ __nv_bfloat16* PreparedValue(int64_t row, int32_t kv_head) const {
    return prepared_values + (row * shape.kv_heads + kv_head) * padded_value_dim;
  }
  __host__ __device__ __nv_bfloat16* PreparedWeights(int64_t row, int32_t head) const {
    return prepared_weights + (row * shape.heads + head) * kChunk;
  }
  __host__ __device__ float* ExchangedWeights(int64_t row, int32_t head) const {
    return exchanged_weights + (row * shape.heads + head) * kChunk;
  }
  __host__ __device__ const float* Decays(int32_t head) const {
    return decays + head * (kChunk + 1);
  }
};

}  // namespace retnet::cuda

#endif  // RETNET_KERNELS_CUDA_RETENTION_STATES_VIEW_H_
