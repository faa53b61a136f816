#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include "kernels/cuda/matmul/prompt_rows.h"
#include "kernels/cuda/retention/gate.cuh"
#include "kernels/cuda/runtime/block_reduce.cuh"

namespace retnet::cuda {
namespace {

constexpr int kThreads = 256;

template <typename T>
__device__ T Round(float value);
template <>
__device__ float Round<float>(float value) {
  return value;
}
template <>
__device__ __half Round<__half>(float value) {
  return __float2half_rn(value);
}
template <>
__device__ __nv_bfloat16 Round<__nv_bfloat16>(float value) {
  return __float2bfloat16_rn(value);
}

// 1 / sqrt(mean(x²) + epsilon). Every thread of the block gets the result.
__device__ float NormScale(const float* x, int64_t columns, float epsilon) {
  __shared__ float partial[kWarp];
  float sum = 0;
  for (int64_t i = threadIdx.x; i < columns; i += kThreads) sum = fmaf(x[i], x[i], sum);
  sum = BlockSum(sum, partial);
  return 1.0f / sqrtf(sum / static_cast<float>(columns) + epsilon);
}

template <typename T>
__global__ void __launch_bounds__(kThreads)
    PrepareActivationsKernel(MatrixView<const float> x, bool normed, Norm norm, int64_t y_stride,
                             T* y) {
  const float* from = x.row(blockIdx.x);
  T* to = y + blockIdx.x * y_stride;
  const float scale = normed ? NormScale(from, x.columns, norm.epsilon) : 1.0f;
  for (int64_t i = threadIdx.x; i < y_stride; i += kThreads) {
    float value = 0;
    if (i < x.columns) {
      value = from[i] * scale;
      if (norm.weight != nullptr) value *= norm.weight[i];
    }
    to[i] = Round<T>(value);
  }
}

__global__ void __launch_bounds__(kThreads)
    JoinGateKernel(MatrixView<const float> joined, Activation activation, MatrixView<float> y) {
  const float* gate = joined.row(blockIdx.x);
  const int64_t i = int64_t{blockIdx.y} * kThreads + threadIdx.x;
  if (i < y.columns) {
    y.row(blockIdx.x)[i] = Activate(activation, gate[i]) * gate[y.columns + i];
  }
}

template <typename T>
cudaError_t Launch(MatrixView<const float> x, const Norm* norm, int64_t y_stride, void* y,
                   cudaStream_t stream) {
  PrepareActivationsKernel<<<static_cast<unsigned>(x.rows), kThreads, 0, stream>>>(
      x, norm != nullptr, norm != nullptr ? *norm : Norm(), y_stride, static_cast<T*>(y));
  return cudaGetLastError();
}

}  // namespace

cudaError_t PrepareActivations(MatrixView<const float> x, const Norm* norm, ElementType type,
                               int64_t y_stride, void* y, cudaStream_t stream) {
  switch (type) {
    case ElementType::kFloat32:
      return Launch<float>(x, norm, y_stride, y, stream);
    case ElementType::kFloat16:
      return Launch<__half>(x, norm, y_stride, y, stream);
    case ElementType::kBFloat16:
      return Launch<__nv_bfloat16>(x, norm, y_stride, y, stream);
  }
  return cudaErrorInvalidValue;
}

cudaError_t JoinGate(MatrixView<const float> joined, Activation activation, MatrixView<float> y,
                     cudaStream_t stream) {
  const dim3 grid(static_cast<unsigned>(y.rows),
                  static_cast<unsigned>((y.columns + kThreads - 1) / kThreads));
  JoinGateKernel<<<grid, kThreads, 0, stream>>>(joined, activation, y);
  return cudaGetLastError();
}

}  // namespace retnet::cuda
