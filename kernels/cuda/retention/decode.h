// Retention of pieces of few rows: decode rows and drafts.
#ifndef RETNET_KERNELS_CUDA_RETENTION_DECODE_H_
#define RETNET_KERNELS_CUDA_RETENTION_DECODE_H_

#include <cuda_runtime.h>

#include <cstdint>

#include "kernels/cuda/retention/retention.h"

namespace retnet::cuda {

// The segments of a launch, in device memory.
struct DecodeSegments {
  const RetentionPiece* pieces;
  const int32_t* starts;   // [segments + 1]
  const int32_t* readers;  // [segments], see DevicePlan
};

// Queues a launch that does piece `piece` of each of `extent.segments` segments, for every shape
// and any number of rows. A block computes some value columns of one head, reads its part of the
// base once for all rows (up to kMostReaders) of the piece or of the pieces that are read together,
// and folds it first where the piece says so. The blocks of a head divide the inner products of q
// and k and exchange them through L2. The last block of a kv head to arrive does the head norm and
// gate and appends to the tails.
//
// 256 threads; registers on sm_80 and sm_90, no spills: blocks of 32 columns 80 (three on an SM),
// 64 columns up to 111 and 112, 128 columns up to 116 and 112, 8 rows 122 (two on an SM). Shared
// memory for key_dim 256: 2.3 KiB at 32 columns, 5.3 KiB at 128, 18 KiB for 8 rows. What the blocks
// ask memory for: docs/gpu.md.
//   occupancy RetentionDecodeKernel<1,1,float>         256   2304  3  3
//   occupancy RetentionDecodeKernel<1,1,__nv_bfloat16> 256   2304  3  3
//   occupancy RetentionDecodeKernel<1,1,__half>        256   2304  3  3
//   occupancy RetentionDecodeKernel<1,2,float>         256   3328  2  2
//   occupancy RetentionDecodeKernel<1,2,__nv_bfloat16> 256   3328  2  2
//   occupancy RetentionDecodeKernel<1,2,__half>        256   3328  2  2
//   occupancy RetentionDecodeKernel<1,4,float>         256   5376  2  2
//   occupancy RetentionDecodeKernel<1,4,__nv_bfloat16> 256   5376  2  2
//   occupancy RetentionDecodeKernel<1,4,__half>        256   5376  2  2
//   occupancy RetentionDecodeKernel<8,1,float>         256  18432  2  2
//   occupancy RetentionDecodeKernel<8,1,__nv_bfloat16> 256  18432  2  2
//   occupancy RetentionDecodeKernel<8,1,__half>        256  18432  2  2
cudaError_t RetentionDecode(const DecodeSegments& segments, const RetentionExtent& extent,
                            int32_t piece, const RetentionInputs& inputs, const StatesView& states,
                            MatrixView<float> out, KernelQueue queue);

}  // namespace retnet::cuda

#endif  // RETNET_KERNELS_CUDA_RETENTION_DECODE_H_
