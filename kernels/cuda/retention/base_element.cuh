// Conversions of the elements of a base. It is stored as RetentionShape::base_type; arithmetic on
// it is in fp32.
#ifndef RETNET_KERNELS_CUDA_RETENTION_BASE_ELEMENT_CUH_
#define RETNET_KERNELS_CUDA_RETENTION_BASE_ELEMENT_CUH_

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include "kernels/tensor.h"

namespace retnet::cuda {

// Stored rounds fp32 to the type, to the nearest, ties to even. Widened converts back to fp32,
// exactly. Four is a vector of four elements that one load reads.
template <typename Base>
struct BaseElement;

template <>
struct BaseElement<float> {
  using Four = float4;
  static __device__ float Stored(float x) { return x; }
  static __device__ float Widened(float x) { return x; }
  static __device__ float4 Widened(float4 x) { return x; }
};

template <>
struct BaseElement<__nv_bfloat16> {
  using Four = uint2;
  static __device__ __nv_bfloat16 Stored(float x) { return __float2bfloat16_rn(x); }
  static __device__ float Widened(__nv_bfloat16 x) { return __bfloat162float(x); }
  static __device__ float4 Widened(uint2 x) {
    return {__uint_as_float(x.x << 16), __uint_as_float(x.x & 0xFFFF0000u),
            __uint_as_float(x.y << 16), __uint_as_float(x.y & 0xFFFF0000u)};
  }
};

template <>
struct BaseElement<__half> {
  using Four = uint2;
  // Clamps to the largest finite number, because an infinity would never leave the state.
  static __device__ __half Stored(float x) {
    constexpr float kGreatest = 65504;
    asm("min.NaN.f32 %0, %0, %1;" : "+f"(x) : "f"(kGreatest));
    asm("max.NaN.f32 %0, %0, %1;" : "+f"(x) : "f"(-kGreatest));
    return __float2half_rn(x);
  }
  static __device__ float Widened(__half x) { return __half2float(x); }
  static __device__ float4 Widened(uint2 x) {
    const auto at = [](unsigned bits) {
      return __half2float(__ushort_as_half(static_cast<unsigned short>(bits)));
    };
    return {at(x.x), at(x.x >> 16), at(x.y), at(x.y >> 16)};
  }
};

// The value that is read back after x is stored.
template <typename Base>
__device__ float AsStored(float x) {
  return BaseElement<Base>::Widened(BaseElement<Base>::Stored(x));
}

// Calls function with a value of the C++ type for `type`, to select a template instance.
template <typename Function>
cudaError_t ForBaseType(ElementType type, const Function& function) {
  switch (type) {
    case ElementType::kBFloat16:
      return function(__nv_bfloat16());
    case ElementType::kFloat16:
      return function(__half());
    case ElementType::kFloat32:
      break;
  }
  return function(float());
}

}  // namespace retnet::cuda

#endif  // RETNET_KERNELS_CUDA_RETENTION_BASE_ELEMENT_CUH_
