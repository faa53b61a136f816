// The kernel that samples, scores and finds the most probable tokens of rows of logits, as
// kernels/sampling.h says. One block per row.
//
// Traffic of a row: V logits (4·V bytes) are read from memory once; further passes read the edited
// copy from the L2 cache. Greedy sampling takes one pass, other sampling three, log-probabilities
// one more. top_k, top_p and top_logprobs each take a search of about 12 passes. A pass determines
// two bits of the order of the logits; the search ends when one token is left between its bounds.
#ifndef RETNET_KERNELS_CUDA_SAMPLING_SAMPLING_H_
#define RETNET_KERNELS_CUDA_SAMPLING_SAMPLING_H_

#include <cuda_runtime.h>

#include <cstdint>

#include "kernels/cuda/runtime/kernel_queue.h"
#include "kernels/operands.h"
#include "kernels/sampling.h"
#include "kernels/tensor.h"

namespace retnet::cuda {

// A SampleRequest in the form that the device reads.
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
  int32_t keep_in = kNotKept;  // the slot whose last token the sampled token, or 0, becomes
  bool logprob = false;
};

// The arguments of a launch. Pointers are to device memory.
struct SampledRows {
  MatrixView<const float> logits;
  const DeviceRequest* requests = nullptr;  // [logits.rows]
  float* edited = nullptr;                  // scratch [logits.rows, EditedStride(logits.columns)]
  // [logits.rows]; kNoToken for a row without a result; logprob is NaN unless requested.
  TokenLogprob* chosen = nullptr;
  // [logits.rows, kMaxTopLogprobs]; of each row with a result, the first top_logprobs are written.
  TokenLogprob* top = nullptr;
  TokenId* last_tokens = nullptr;  // [slots]
};

// The number of scratch floats for a row of `columns` logits.
constexpr int64_t EditedStride(int64_t columns) { return (columns + 3) / 4 * 4; }

// Queues one launch over all rows. The result of a row depends only on its logits and its request.
// Returns the error of the launch.
cudaError_t Sample(const SampledRows& rows, KernelQueue queue);

}  // namespace retnet::cuda

#endif  // RETNET_KERNELS_CUDA_SAMPLING_SAMPLING_H_
