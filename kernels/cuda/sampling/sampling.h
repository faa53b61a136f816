// Sampling, scoring and the most probable tokens of rows of logits, as kernels/sampling.h says. One
// block a row; no logit leaves the device.
//
// Traffic of a row: V logits (4·V bytes) read once from memory, every further pass from L2 (the
// edited copy). Greedy makes one pass, sampling three, log-probabilities one more; top_k, top_p and
// top_logprobs each a search of about 12 passes (two bits of a logit's order a pass) until one
// token is left between its bounds.
#ifndef RETNET_KERNELS_CUDA_SAMPLING_SAMPLING_H_
#define RETNET_KERNELS_CUDA_SAMPLING_SAMPLING_H_

#include <cuda_runtime.h>

#include <cstdint>

#include "kernels/cuda/runtime/kernel_queue.h"
#include "kernels/operands.h"
#include "kernels/sampling.h"
#include "kernels/tensor.h"

namespace retnet::cuda {

// A SampleRequest as the device reads it.
struct DeviceRequest {
  uint64_t seed = 0;
  uint64_t draw = 0;
  TokenId scored_token = kNoToken;
  float temperature = 1.0f;
  int32_t top_k = 0;
  float top_p = 1.0f;
  float min_p = 0.0f;
  const LogitEdit* edits = nullptr;  // on the device
  int32_t edit_count = 0;
  int32_t top_logprobs = 0;
  int32_t keep_in = kNotKept;  // the slot whose last token it samples
  bool logprob = false;
};

// Pointers are to device memory.
struct SampledRows {
  MatrixView<const float> logits;
  const DeviceRequest* requests = nullptr;  // [logits.rows]
  float* edited = nullptr;                  // scratch [logits.rows, EditedStride(logits.columns)]
  TokenLogprob* chosen = nullptr;  // [logits.rows]; NaN where no log-probability is asked for
  TokenLogprob* top =
      nullptr;  // [logits.rows, kMaxTopLogprobs], the first of each row that are asked
  TokenId* last_tokens = nullptr;  // [slots]
};

// Columns of the scratch that a row of logits takes.
constexpr int64_t EditedStride(int64_t columns) { return (columns + 3) / 4 * 4; }

// Queues one launch over all rows; a row's answer depends on its logits and request alone. Returns
// the launch's error.
cudaError_t Sample(const SampledRows& rows, KernelQueue queue);

}  // namespace retnet::cuda

#endif  // RETNET_KERNELS_CUDA_SAMPLING_SAMPLING_H_
