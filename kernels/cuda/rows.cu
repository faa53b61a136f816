#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include "kernels/cuda/rows.h"
#include "kernels/cuda/runtime/block_reduce.cuh"
#include "kernels/cuda/runtime/launch.cuh"
#include "kernels/operands.h"

namespace retnet::cuda {
namespace {

constexpr int kThreads = 256;

unsigned Blocks(int64_t elements) {
  return static_cast<unsigned>((elements + kThreads - 1) / kThreads);
}

__device__ float ToFloat(float x) { return x; }
__device__ float ToFloat(__half x) { return __half2float(x); }
__device__ float ToFloat(__nv_bfloat16 x) { return __bfloat162float(x); }

template <typename T>
__global__ void Embed(const TokenId* tokens, const TokenId* last_tokens, const T* table,
                      int64_t stride, float multiplier, MatrixView<float> x) {
  LetNextKernelBegin();
  AwaitEarlierKernels();
  TokenId token = tokens[blockIdx.x];
  if (token < 0) token = last_tokens[SlotOfLastToken(token)];
  const T* from = table + token * stride;
  float* to = x.row(blockIdx.x);
  for (int64_t i = threadIdx.x; i < x.columns; i += kThreads) to[i] = ToFloat(from[i]) * multiplier;
}

__global__ void Normalize(const float* norm_weight, float epsilon, MatrixView<float> x) {
  __shared__ float partial[kWarp];
  LetNextKernelBegin();
  AwaitEarlierKernels();
  float* row = x.row(blockIdx.x);
  float squares = 0;
  for (int64_t i = threadIdx.x; i < x.columns; i += kThreads) squares += row[i] * row[i];
  const float mean = BlockSum(squares, partial) / static_cast<float>(x.columns);
  const float scale = 1.0f / sqrtf(mean + epsilon);
  for (int64_t i = threadIdx.x; i < x.columns; i += kThreads) {
    row[i] *= norm_weight == nullptr ? scale : scale * norm_weight[i];
  }
}

// A thread computes the angle of one pair, or the decay sum of one head, of one row.
__global__ void PositionTables(PositionTablesView tables) {
  LetNextKernelBegin();
  AwaitEarlierKernels();
  const int64_t pairs = tables.cosines.columns;
  const int64_t entries = pairs + tables.decay_sums.columns;
  const int64_t i = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (i >= tables.cosines.rows * entries) return;
  const int64_t row = i / entries;
  const int64_t entry = i % entries;
  const int32_t position = tables.positions[row];
  if (entry < pairs) {
    double sine, cosine;
    sincos(position * tables.thetas[entry], &sine, &cosine);
    tables.cosines.row(row)[entry] = static_cast<float>(cosine);
    tables.sines.row(row)[entry] = static_cast<float>(sine);
  } else {
    // expm1 keeps the digits of 1 − γ^(n+1) where γ^(n+1) is close to 1.
    const double gamma = tables.decays[entry - pairs];
    tables.decay_sums.row(row)[entry - pairs] =
        static_cast<float>(-expm1((position + 1.0) * log(gamma)) / (1 - gamma));
  }
}

__global__ void Gather(MatrixView<const float> x, const int32_t* indices, MatrixView<float> y) {
  LetNextKernelBegin();
  AwaitEarlierKernels();
  const float* from = x.row(indices[blockIdx.x]);
  float* to = y.row(blockIdx.x);
  for (int64_t i = threadIdx.x; i < y.columns; i += kThreads) to[i] = from[i];
}

template <typename T>
cudaError_t LaunchEmbed(const TokenId* tokens, const TokenId* last_tokens,
                        const EmbeddingTable& table, float multiplier, MatrixView<float> x,
                        KernelQueue queue) {
  return LaunchKernel(Embed<T>, {static_cast<unsigned>(x.rows), kThreads}, queue, tokens,
                      last_tokens, static_cast<const T*>(table.data), table.stride, multiplier, x);
}

}  // namespace

cudaError_t EmbedRows(const TokenId* tokens, const TokenId* last_tokens,
                      const EmbeddingTable& table, float multiplier, MatrixView<float> x,
                      KernelQueue queue) {
  switch (table.type) {
    case ElementType::kFloat32:
      return LaunchEmbed<float>(tokens, last_tokens, table, multiplier, x, queue);
    case ElementType::kFloat16:
      return LaunchEmbed<__half>(tokens, last_tokens, table, multiplier, x, queue);
    case ElementType::kBFloat16:
      return LaunchEmbed<__nv_bfloat16>(tokens, last_tokens, table, multiplier, x, queue);
  }
  return cudaErrorInvalidValue;
}

cudaError_t NormalizeRows(const float* norm_weight, float epsilon, MatrixView<float> x,
                          KernelQueue queue) {
  return LaunchKernel(Normalize, {static_cast<unsigned>(x.rows), kThreads}, queue, norm_weight,
                      epsilon, x);
}

cudaError_t FillPositionTables(const PositionTablesView& tables, KernelQueue queue) {
  const int64_t entries =
      tables.cosines.rows * (tables.cosines.columns + tables.decay_sums.columns);
  if (entries == 0) return cudaSuccess;  // a head with key_dim 1 has no pairs
  return LaunchKernel(PositionTables, {Blocks(entries), kThreads}, queue, tables);
}

cudaError_t GatherRows(MatrixView<const float> x, const int32_t* indices, MatrixView<float> y,
                       KernelQueue queue) {
  return LaunchKernel(Gather, {static_cast<unsigned>(y.rows), kThreads}, queue, x, indices, y);
}

}  // namespace retnet::cuda
