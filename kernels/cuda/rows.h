// Operators on rows beside products and retention. Pointers are to device memory; every function
// queues one launch and returns the launch's error. Their traffic is what a row holds, read and
// written once: a few KB, so that what counts is the launch.
// ptxas, sm_80 and sm_90: at most 32 registers, no spills; blocks of 256 threads, one a row.
//   occupancy Embed<__nv_bfloat16>          256      0  8  8
//   occupancy Embed<__half>                 256      0  8  8
//   occupancy Embed<float>                  256      0  8  8
//   occupancy Gather                        256      0  8  8
//   occupancy Rotate                        256      0  8  8
//   occupancy Normalize                     256      0  8  8
#ifndef RETNET_KERNELS_CUDA_ROWS_H_
#define RETNET_KERNELS_CUDA_ROWS_H_

#include <cuda_runtime.h>

#include <cstdint>

#include "kernels/cuda/runtime/kernel_queue.h"
#include "kernels/tensor.h"

namespace retnet::cuda {

// A matrix of weights [rows, x.columns], `stride` elements from row to row.
struct EmbeddingTable {
  const void* data = nullptr;
  ElementType type = ElementType::kFloat32;
  int64_t stride = 0;
};

// x[i] = table[tokens[i]] · multiplier, x.rows tokens; LastTokenOf a slot is the one in
// last_tokens [slots].
cudaError_t EmbedRows(const TokenId* tokens, const TokenId* last_tokens,
                      const EmbeddingTable& table, float multiplier, MatrixView<float> x,
                      KernelQueue queue);

// x = RMSNorm(x) · norm_weight in place; nullptr: without weight. A row's sum does not depend on
// its place.
cudaError_t NormalizeRows(const float* norm_weight, float epsilon, MatrixView<float> x,
                          KernelQueue queue);

// cosines and sines [rows, pairs] of positions[i] · thetas[j], the angle reduced in double.
cudaError_t RotateRows(const int32_t* positions, const double* thetas, int64_t rows, int64_t pairs,
                       float* cosines, float* sines, KernelQueue queue);

// y[i] = x[indices[i]], y.rows of them.
cudaError_t GatherRows(MatrixView<const float> x, const int32_t* indices, MatrixView<float> y,
                       KernelQueue queue);

}  // namespace retnet::cuda

#endif  // RETNET_KERNELS_CUDA_ROWS_H_
