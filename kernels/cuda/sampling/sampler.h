// The operator Sample of the concept Kernels on a GPU: requests there, answers back.
#ifndef RETNET_KERNELS_CUDA_SAMPLING_SAMPLER_H_
#define RETNET_KERNELS_CUDA_SAMPLING_SAMPLER_H_

#include <cuda_runtime.h>

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "kernels/cuda/runtime/device_array.h"
#include "kernels/cuda/runtime/kernel_queue.h"
#include "kernels/cuda/runtime/staging.h"
#include "kernels/cuda/runtime/step_mode.h"
#include "kernels/cuda/sampling/sampling.h"
#include "kernels/kernels.h"
#include "kernels/sampling.h"
#include "kernels/tensor.h"

namespace retnet::cuda {

// Only token ids and the log-probabilities that are asked for cross the bus, once a step.
// Thread-compatible.
class CudaSampler {
 public:
  CudaSampler() = default;
  // For steps of up to `max_rows` rows.
  static absl::StatusOr<CudaSampler> Make(int64_t max_rows);

  // Makes room for rows of up to `columns` logits: before the first Answer over such rows.
  absl::Status Reserve(int64_t columns);

  // See the operator Sample; `answers` lives until Collect. Where the edits of a step, or the rows
  // since the last Collect, are more than the memory for them holds, waits for the stream, or but
  // notes it when there is nothing to wait for because the step is only staged or recorded.
  absl::Status Sample(MatrixView<const float> logits, std::span<const SampleRequest> requests,
                      std::span<const int32_t> keep_in, TokenId* last_tokens,
                      std::span<SampleResult> results, KernelQueue queue, StepMode mode);
  // Whether all requests that were staged in this step fit.
  bool fits() const { return fits_; }
  cudaError_t Flush(cudaStream_t stream);
  // Forgets what was asked in this step, which has been staged or recorded, not launched.
  void Rewind();

  // Queues the way back of this step's answers; what is asked from now on is of the next step.
  absl::Status EndStep(cudaStream_t stream);
  // Writes the answers of the oldest ended step, which the stream has passed.
  void Collect();
  // Waits for the stream and writes the answers of this step so far, which then begins anew.
  absl::Status Finish(cudaStream_t stream);

 private:
  // Rows that one launch takes, as many as there is scratch for.
  static constexpr int64_t kLaunchRows = 64;
  // Edits that fit at a time, unless the vocabulary is larger: every one of a row must.
  static constexpr int64_t kEdits = 1 << 16;

  struct Pending {
    std::span<SampleResult> results;
    int64_t first_row = 0;  // of the step's
  };
  struct Step {
    std::vector<Pending> pending;
    std::vector<int32_t> top_counts;  // of each row
    int32_t most_top = 0;
    PinnedBytes host;  // chosen [max_rows_], then top [max_rows_, kMaxTopLogprobs]

    TokenLogprob* chosen() const { return reinterpret_cast<TokenLogprob*>(host.data()); }
    int64_t rows() const { return static_cast<int64_t>(top_counts.size()); }
    void Clear();
  };

  int64_t CountRows(std::span<const SampleRequest> requests) const;
  absl::Status Launch(MatrixView<const float> logits, std::span<const SampleRequest> requests,
                      std::span<const int32_t> keep_in, TokenId* last_tokens,
                      std::span<SampleResult> results, KernelQueue queue, StepMode mode);
  // Where the launch reads its requests on the device.
  const DeviceRequest* Put(std::span<const SampleRequest> requests,
                           std::span<const int32_t> keep_in);
  absl::Status QueueResults(const Step& step, cudaStream_t stream) const;
  void Write(Step& step) const;

  int64_t max_rows_ = 0;
  int64_t columns_ = 0;
  int64_t edit_bytes_ = 0;  // of edits_
  Staging requests_;  // DeviceRequest, of each launch at one address in every step of as many rows
  Staging edits_;     // LogitEdit, of each request that has some
  DeviceArray<float> edited_;         // [kLaunchRows, EditedStride(columns_)]
  DeviceArray<TokenLogprob> chosen_;  // [max_rows_]
  DeviceArray<TokenLogprob> top_;     // [max_rows_, kMaxTopLogprobs]
  std::vector<DeviceRequest> requests_of_launch_;
  std::array<Step, kStepsInFlight> steps_;
  int32_t current_ = 0;
  int32_t ended_ = 0;
  bool fits_ = true;
};

}  // namespace retnet::cuda

#endif  // RETNET_KERNELS_CUDA_SAMPLING_SAMPLER_H_
