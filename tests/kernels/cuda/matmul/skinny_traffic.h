// The bytes that a product of few rows moves, counted from its launch: for documents and tests.
#ifndef RETNET_TESTS_KERNELS_CUDA_MATMUL_SKINNY_TRAFFIC_H_
#define RETNET_TESTS_KERNELS_CUDA_MATMUL_SKINNY_TRAFFIC_H_

#include <cstdint>

#include "kernels/cuda/matmul/skinny.h"

namespace retnet::cuda {

struct SkinnyTraffic {
  int64_t tiles = 0;      // of outputs, each of as many blocks as
  int64_t splits = 0;     // there are parts of k
  int64_t floor = 0;      // the weight without its padding, x and y once; y twice for kAdd
  int64_t weights = 0;    // of `requested`
  int64_t once = 0;       // `requested` without what the launch has read or written before
  int64_t requested = 0;  // by all blocks, as if a cache kept nothing
  int64_t kept = 0;       // what a cache holds that gives all that is asked for again: x and parts
};

SkinnyTraffic TrafficOf(const SkinnyMatMul& matmul);

}  // namespace retnet::cuda

#endif  // RETNET_TESTS_KERNELS_CUDA_MATMUL_SKINNY_TRAFFIC_H_
