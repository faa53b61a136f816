// The activations of the gated feed-forward part.
#ifndef RETNET_KERNELS_CUDA_RETENTION_GATE_CUH_
#define RETNET_KERNELS_CUDA_RETENTION_GATE_CUH_

#include "kernels/operands.h"

namespace retnet::cuda {

__device__ inline float Activate(Activation activation, float x) {
  if (activation == Activation::kSilu) return x / (1.0f + expf(-x));
  return 0.5f * x * (1.0f + erff(x * 0.70710678f));
}

}  // namespace retnet::cuda

#endif  // RETNET_KERNELS_CUDA_RETENTION_GATE_CUH_
