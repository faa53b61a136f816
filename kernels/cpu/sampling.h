// Sampling, scoring and the most probable tokens of rows of logits on the CPU.
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

// The operator Sample of the concept Kernels. A row's answer depends on its logits and request alone.
// The sampled token is the same on every instruction set, except that top_p without top_k sums the
// vocabulary's probabilities in fp32, so that a token on the very border of the cut may differ; so
// may the last bits of log-probabilities. Thread-compatible: one call at a time.
class CpuSampler {
 public:
  CpuSampler(InstructionSet set, int32_t threads);

  // Makes room for rows of up to `columns` logits: before the first Answer over such rows.
  absl::Status Reserve(int64_t columns);

  void Sample(MatrixView<const float> logits, std::span<const SampleRequest> requests,
              std::span<SampleResult> results, ThreadPool& pool);

 private:
  const SamplingSimd vectors_;
  // Of each thread; written before they are read.
  std::vector<AlignedArray<float>> logits_;
  std::vector<AlignedArray<TokenId>> tokens_;
};

}  // namespace retnet::cpu

#endif  // RETNET_KERNELS_CPU_SAMPLING_H_
