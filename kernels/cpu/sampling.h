// The operator Sample of the concept Kernels on the CPU.
#ifndef RETNET_KERNELS_CPU_SAMPLING_H_
#define RETNET_KERNELS_CPU_SAMPLING_H_

#include <cstdint>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "kernels/cpu/aligned_array.h"
#include "kernels/cpu/instruction_set.h"
#include "kernels/cpu/sampling_simd.h"
#include "kernels/cpu/thread_pool.h"
#include "kernels/sampling.h"
#include "kernels/tensor.h"

namespace retnet::cpu {

// Samples, scores and finds the most probable tokens of rows of logits. The result of a row depends
// only on its logits and its request. The sampled token is the same on every instruction set, with
// one exception: top_p without top_k sums the probabilities of the vocabulary in fp32, so a token
// exactly at the border of the cut may differ. The last bits of log-probabilities may differ too.
// Thread-compatible.
class CpuSampler {
 public:
  CpuSampler(InstructionSet set, int32_t threads);

  // Allocates scratch for rows of up to `columns` logits. Must precede the first Sample of such
  // rows. RESOURCE_EXHAUSTED if the memory cannot be allocated.
  absl::Status Reserve(int64_t columns);

  void Sample(MatrixView<const float> logits, std::span<const SampleRequest> requests,
              std::span<SampleResult> results, ThreadPool& pool);

 private:
  const SamplingSimd vectors_;
  // Scratch of each thread; written before it is read.
  std::vector<AlignedArray<float>> logits_;
  std::vector<AlignedArray<TokenId>> tokens_;
};

}  // namespace retnet::cpu

#endif  // RETNET_KERNELS_CPU_SAMPLING_H_
