// Reductions over the threads of a warp or block. Every thread gets the result. Blocks must consist
// of whole warps. The order of the additions depends only on the number of threads.
#ifndef RETNET_KERNELS_CUDA_RUNTIME_BLOCK_REDUCE_CUH_
#define RETNET_KERNELS_CUDA_RUNTIME_BLOCK_REDUCE_CUH_

#include <cstdint>

namespace retnet::cuda {

inline constexpr unsigned kAllLanes = 0xFFFFFFFFu;
inline constexpr int kWarp = 32;

__device__ inline int Lane() { return static_cast<int>(threadIdx.x) % kWarp; }

template <typename T>
__device__ T WarpSum(T value) {
  for (int offset = kWarp / 2; offset > 0; offset /= 2) {
    value += __shfl_xor_sync(kAllLanes, value, offset);
  }
  return value;
}

// `partial` [kWarp] is scratch in shared memory, free for other uses when the call returns.
template <typename T>
__device__ T BlockSum(T value, T* partial) {
  value = WarpSum(value);
  if (Lane() == 0) partial[threadIdx.x / kWarp] = value;
  __syncthreads();
  value = WarpSum(Lane() < static_cast<int>(blockDim.x) / kWarp ? partial[Lane()] : T{0});
  __syncthreads();
  return value;
}

__device__ inline uint64_t WarpMax(uint64_t value) {
  const auto upper = static_cast<uint32_t>(value >> 32);
  const uint32_t greatest = __reduce_max_sync(kAllLanes, upper);
  const uint32_t lower =
      __reduce_max_sync(kAllLanes, upper == greatest ? static_cast<uint32_t>(value) : 0u);
  return uint64_t{greatest} << 32 | lower;
}

__device__ inline uint64_t BlockMax(uint64_t value, uint64_t* partial) {
  value = WarpMax(value);
  if (Lane() == 0) partial[threadIdx.x / kWarp] = value;
  __syncthreads();
  value = WarpMax(Lane() < static_cast<int>(blockDim.x) / kWarp ? partial[Lane()] : 0u);
  __syncthreads();
  return value;
}

}  // namespace retnet::cuda

#endif  // RETNET_KERNELS_CUDA_RUNTIME_BLOCK_REDUCE_CUH_
