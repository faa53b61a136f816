// The bytes that Retention of one layer moves, counted from its launches.
#ifndef RETNET_TESTS_KERNELS_CUDA_RETENTION_RETENTION_TRAFFIC_H_
#define RETNET_TESTS_KERNELS_CUDA_RETENTION_RETENTION_TRAFFIC_H_

#include <cstdint>

#include "kernels/cuda/retention/retention.h"
#include "kernels/operands.h"

namespace retnet::cuda {

struct RetentionTraffic {
  int64_t floor = 0;      // inputs, bases and tails once each, outputs once
  int64_t requested = 0;  // by all blocks, without any cache
};

// The number of blocks that share the value columns of a head, in a launch of RetentionDecode.
int64_t BlocksOfDecodedHead(const RetentionShape& shape, const RetentionExtent& extent);

// A step of decode rows that do not fold. Blocks request more than the floor: q once per block
// instead of once per head, and a few words that the blocks of a head exchange. All of that is in
// the L2 cache. The count assumes that the blocks of a head run at the same time, so that each
// inner product is computed once. A block computes an inner product itself if it does not arrive in
// time.
RetentionTraffic DecodeTraffic(const RetentionShape& shape, const HostPlan& plan);

// `rows` prompt rows of one sequence: whole chunks, the first of which has a base. The floor
// includes no scratch. Blocks also request bf16 rows and outputs before the norm from scratch; most
// of that is in the L2 cache when a later launch reads it.
RetentionTraffic PromptTraffic(const RetentionShape& shape, int32_t rows);

}  // namespace retnet::cuda

#endif  // RETNET_TESTS_KERNELS_CUDA_RETENTION_RETENTION_TRAFFIC_H_
