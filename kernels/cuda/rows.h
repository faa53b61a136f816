// Operators on rows, other than matrix products and retention. Pointers are to device memory. Every
// function queues one launch and returns its error. A launch reads and writes each row once. That
// is a few KB, so the launch itself dominates the time.
// ptxas, sm_80 and sm_90: at most 32 registers, no spills; blocks of 256 threads, one per row.
//   occupancy Embed<__nv_bfloat16>          256      0  8  8
//   occupancy Embed<__half>                 256      0  8  8
//   occupancy Embed<float>                  256      0  8  8
//   occupancy Gather                        256      0  8  8
//   occupancy PositionTables                256      0  8  8
//   occupancy Normalize                     256      0  8  8
#ifndef RETNET_KERNELS_CUDA_ROWS_H_
#define RETNET_KERNELS_CUDA_ROWS_H_

#include <cuda_runtime.h>

#include <cstdint>

#include "kernels/cuda/runtime/kernel_queue.h"
#include "kernels/tensor.h"

namespace retnet::cuda {

// A matrix of weights [vocabulary, x.columns]. `stride` is the distance between rows, in elements.
struct EmbeddingTable {
  const void* data = nullptr;
  ElementType type = ElementType::kFloat32;
  int64_t stride = 0;
};

// x[i] = table[tokens[i]] · multiplier for x.rows tokens. A token LastTokenOf(slot) stands for
// last_tokens[slot].
cudaError_t EmbedRows(const TokenId* tokens, const TokenId* last_tokens,
                      const EmbeddingTable& table, float multiplier, MatrixView<float> x,
                      KernelQueue queue);

// x = RMSNorm(x) · norm_weight, in place. nullptr means no weight. The result of a row does not
// depend on its place.
cudaError_t NormalizeRows(const float* norm_weight, float epsilon, MatrixView<float> x,
                          KernelQueue queue);

// What follows from the positions of rows.
struct PositionTablesView {
  const int32_t* positions = nullptr;  // [rows]
  const double* thetas = nullptr;      // [pairs], radians per token
  const double* decays = nullptr;      // [heads], γ
  MatrixView<float> cosines;           // [rows, pairs], of the angle position · θ
  MatrixView<float> sines;             // [rows, pairs]
  MatrixView<float> decay_sums;        // [rows, heads], Σ_{j≤position} γ^j
};

// Writes the three tables, computed in double. Any of them may have no columns.
cudaError_t FillPositionTables(const PositionTablesView& tables, KernelQueue queue);

// y[i] = x[indices[i]] for y.rows rows.
cudaError_t GatherRows(MatrixView<const float> x, const int32_t* indices, MatrixView<float> y,
                       KernelQueue queue);

}  // namespace retnet::cuda

#endif  // RETNET_KERNELS_CUDA_ROWS_H_
