// The bytes that a layer's Retention moves, counted from its launches: for documents and tests.
#ifndef RETNET_TESTS_KERNELS_CUDA_RETENTION_RETENTION_TRAFFIC_H_
#define RETNET_TESTS_KERNELS_CUDA_RETENTION_RETENTION_TRAFFIC_H_

#include <cstdint>

#include "kernels/cuda/retention/retention.h"
#include "kernels/operands.h"

namespace retnet::cuda {

struct RetentionTraffic {
  int64_t floor = 0;      // inputs, bases and tails once each, outputs once
  int64_t requested = 0;  // by all blocks, as if none of it were found in a cache of a block
};

// Blocks that share the value columns of a head, of a launch of RetentionDecode of that extent.
int64_t BlocksOfDecodedHead(const RetentionShape& shape, const RetentionExtent& extent);

// A step of decode rows that do not fold, laid out. What is requested beyond the floor are q once a
// block instead of once a head and a few words that the blocks of a head exchange, all of which lie
// in the device's L2 cache. The blocks of a head are taken to run beside each other, so that each
// inner product is computed once; one that is not there in time is computed again.
RetentionTraffic DecodeTraffic(const RetentionShape& shape, const HostPlan& plan);

// `rows` given rows of one sequence, whole chunks that begin with a base. The floor keeps nothing
// in scratch; what is requested beyond it are bf16 rows and outputs not yet normed, most of which a
// later launch finds in the L2 cache.
RetentionTraffic PromptTraffic(const RetentionShape& shape, int32_t rows);

}  // namespace retnet::cuda

#endif  // RETNET_TESTS_KERNELS_CUDA_RETENTION_RETENTION_TRAFFIC_H_
