// The bytes that a matrix product of few rows moves, counted from its launch.
#ifndef RETNET_TESTS_KERNELS_CUDA_MATMUL_SKINNY_TRAFFIC_H_
#define RETNET_TESTS_KERNELS_CUDA_MATMUL_SKINNY_TRAFFIC_H_

#include <cstdint>

#include "kernels/cuda/matmul/skinny.h"

namespace retnet::cuda {

struct SkinnyTraffic {
  int64_t tiles = 0;      // tiles of outputs
  int64_t splits = 0;     // parts of k: the blocks of a tile
  int64_t floor = 0;      // the weight without its padding, x and y once; y twice for kAdd
  int64_t weights = 0;    // the part of `requested` that is weights
  int64_t once = 0;       // `requested` without bytes that the launch has read or written before
  int64_t requested = 0;  // by all blocks, without any cache
  int64_t kept = 0;  // bytes that a cache must hold to serve all repeated requests: x and parts
};

SkinnyTraffic TrafficOf(const SkinnyMatMul& matmul);

}  // namespace retnet::cuda

#endif  // RETNET_TESTS_KERNELS_CUDA_MATMUL_SKINNY_TRAFFIC_H_
