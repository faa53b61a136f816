// The kernels of prompt rows before and after a product by cuBLASLt.
//   occupancy PrepareActivationsKernel<__nv_bfloat16>     256      0  8  8
//   occupancy PrepareActivationsKernel<__half>            256      0  8  8
//   occupancy PrepareActivationsKernel<float>             256      0  8  8
//   occupancy JoinGateKernel                   256      0  8  8
#ifndef RETNET_KERNELS_CUDA_MATMUL_PROMPT_ROWS_H_
#define RETNET_KERNELS_CUDA_MATMUL_PROMPT_ROWS_H_

#include <cuda_runtime.h>

#include <cstdint>

#include "kernels/operands.h"
#include "kernels/tensor.h"

namespace retnet::cuda {

// y = RMSNorm(x), or x if `norm` is null, rounded to `type`. y is [rows, y_stride]; its columns
// from x.columns on become zero. One block of 256 threads per row. Reads x from DRAM once (the
// second read hits the cache) and writes y once: rows · columns · (4 + size of type) bytes, which
// is the floor. ptxas, sm_80 and sm_90: at most 32 registers, 128 bytes of shared memory, no
// spills.
cudaError_t PrepareActivations(MatrixView<const float> x, const Norm* norm, ElementType type,
                               int64_t y_stride, void* y, cudaStream_t stream);

// y = activation(gate) ⊙ up; joined [rows, 2 · y.columns] is gate | up. Moves 12 bytes per element
// of y, which is the floor. ptxas: at most 20 registers, no spills.
cudaError_t JoinGate(MatrixView<const float> joined, Activation activation, MatrixView<float> y,
                     cudaStream_t stream);

}  // namespace retnet::cuda

#endif  // RETNET_KERNELS_CUDA_MATMUL_PROMPT_ROWS_H_
