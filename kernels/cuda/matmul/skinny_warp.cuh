// How one warp multiplies 16 rows of a weight by 8 rows of activations at a time, for each type of
// weight. A lane (g = lane / 4, t = lane % 4) has 16 bytes of rows g and g + 8 of the weight. The
// four lanes of a row may hold any elements of k, as long as the activations are permuted in the
// same way. So each lane reads consecutive bytes, which the fragments of mma.sync would spread out.
#ifndef RETNET_KERNELS_CUDA_MATMUL_SKINNY_WARP_CUH_
#define RETNET_KERNELS_CUDA_MATMUL_SKINNY_WARP_CUH_

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cstdint>

#include "kernels/tensor.h"

namespace retnet::cuda {

// The members of each struct:
//   kType     the element type of the weight
//   Staged    the type of activations in shared memory
//   kPad      extra elements of Staged per row, so that the reads of lanes hit different banks
//   kInputs   elements of k in the 16 bytes of a lane
//   Round     converts fp32 to Staged
//   Tile      the sums of one lane, of 16 outputs by 8 rows
//   Multiply  adds the products of the lane's 16 bytes of both rows with 8 rows of x; x points to
//             row 0 and the first element of k of the lane
//   Total     the sums in the format of mma.sync: outputs g, g, g + 8, g + 8 by rows 2t, 2t + 1, …

struct BFloat16Warp {
  static constexpr ElementType kType = ElementType::kBFloat16;
  using Staged = __nv_bfloat16;
  static constexpr int kPad = 32;
  static constexpr int kInputs = 8;
  struct Tile {
    float sums[4] = {};
  };

  static __device__ Staged Round(float value) { return __float2bfloat16_rn(value); }

  static __device__ void Multiply(uint4 upper, uint4 lower, const Staged* x, int stride,
                                  Tile& tile) {
    const int g = threadIdx.x % 32 / 4;
    const uint4 b = *reinterpret_cast<const uint4*>(x + g * stride);
    Mma(upper.x, lower.x, upper.y, lower.y, b.x, b.y, tile.sums);
    Mma(upper.z, lower.z, upper.w, lower.w, b.z, b.w, tile.sums);
  }

  static __device__ float4 Total(const Tile& tile) {
    return make_float4(tile.sums[0], tile.sums[1], tile.sums[2], tile.sums[3]);
  }

 private:
  static __device__ void Mma(uint32_t a0, uint32_t a1, uint32_t a2, uint32_t a3, uint32_t b0,
                             uint32_t b1, float (&c)[4]) {
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, "
        "{%8, %9}, {%0, %1, %2, %3};\n"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(b0), "r"(b1));
  }
};

struct Float16Warp {
  static constexpr ElementType kType = ElementType::kFloat16;
  using Staged = float;
  static constexpr int kPad = 4;
  static constexpr int kInputs = 8;
  using Tile = BFloat16Warp::Tile;

  static __device__ Staged Round(float value) {
    uint32_t bits;
    asm("cvt.rna.tf32.f32 %0, %1;\n" : "=r"(bits) : "f"(value));
    return __uint_as_float(bits);
  }

  static __device__ void Multiply(uint4 upper, uint4 lower, const Staged* x, int stride,
                                  Tile& tile) {
    const int g = threadIdx.x % 32 / 4;
    const auto* row = reinterpret_cast<const float4*>(x + g * stride);
    const float4 b0 = row[0], b1 = row[1];
    Mma(upper.x, lower.x, b0.x, b0.y, tile.sums);
    Mma(upper.y, lower.y, b0.z, b0.w, tile.sums);
    Mma(upper.z, lower.z, b1.x, b1.y, tile.sums);
    Mma(upper.w, lower.w, b1.z, b1.w, tile.sums);
  }

  static __device__ float4 Total(const Tile& tile) { return BFloat16Warp::Total(tile); }

 private:
  // `upper` and `lower` hold two fp16 numbers each. tf32 represents them exactly.
  static __device__ void Mma(uint32_t upper, uint32_t lower, float b0, float b1, float (&c)[4]) {
    const float2 a = __half22float2(*reinterpret_cast<const __half2*>(&upper));
    const float2 d = __half22float2(*reinterpret_cast<const __half2*>(&lower));
    asm volatile(
        "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, "
        "{%8, %9}, {%0, %1, %2, %3};\n"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(__float_as_uint(a.x)), "r"(__float_as_uint(d.x)), "r"(__float_as_uint(a.y)),
          "r"(__float_as_uint(d.y)), "r"(__float_as_uint(b0)), "r"(__float_as_uint(b1)));
  }
};

struct Float32Warp {
  static constexpr ElementType kType = ElementType::kFloat32;
  using Staged = float;
  static constexpr int kPad = 4;
  static constexpr int kInputs = 4;
  struct Tile {
    float sums[2][8] = {};  // of outputs g and g + 8 by 8 rows, over the elements of k of the lane
  };

  static __device__ Staged Round(float value) { return value; }

  static __device__ void Multiply(uint4 upper, uint4 lower, const Staged* x, int stride,
                                  Tile& tile) {
#pragma unroll
    for (int row = 0; row < 8; ++row) {
      const float4 b = *reinterpret_cast<const float4*>(x + row * stride);
      tile.sums[0][row] = Dot(upper, b, tile.sums[0][row]);
      tile.sums[1][row] = Dot(lower, b, tile.sums[1][row]);
    }
  }

  static __device__ float4 Total(const Tile& tile) {
    float total[4] = {};
#pragma unroll
    for (int output = 0; output < 2; ++output) {
#pragma unroll
      for (int row = 0; row < 8; ++row) {
        float sum = tile.sums[output][row];
        sum += __shfl_xor_sync(~0u, sum, 1);
        sum += __shfl_xor_sync(~0u, sum, 2);
        if (row / 2 == threadIdx.x % 4) total[2 * output + row % 2] = sum;
      }
    }
    return make_float4(total[0], total[1], total[2], total[3]);
  }

 private:
  static __device__ float Dot(uint4 a, float4 b, float sum) {
    sum = fmaf(__uint_as_float(a.x), b.x, sum);
    sum = fmaf(__uint_as_float(a.y), b.y, sum);
    sum = fmaf(__uint_as_float(a.z), b.z, sum);
    return fmaf(__uint_as_float(a.w), b.w, sum);
  }
};

}  // namespace retnet::cuda

#endif  // RETNET_KERNELS_CUDA_MATMUL_SKINNY_WARP_CUH_
