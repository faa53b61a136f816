// The operator Sample of the concept Kernels on a GPU: copies requests to the device and results
// back.
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

// Logits stay on the device. Only token ids and requested log-probabilities are copied to the host,
// once per step. Thread-compatible.
class CudaSampler {
 public:
  CudaSampler() = default;
  // For steps of up to `max_rows` rows. Errors are those of CudaStatus.
  static absl::StatusOr<CudaSampler> Make(int64_t max_rows);

  // Allocates memory for rows of up to `columns` logits. Must precede the first Sample of such
  // rows.
  absl::Status Reserve(int64_t columns);

  // See the operator Sample. `results` must stay valid until Collect. If the edits or rows of the
  // step do not fit into their memory, it waits for the stream and reuses the memory. If the step
  // is only being staged or recorded, waiting would not help: it clears fits() instead.
  absl::Status Sample(MatrixView<const float> logits, std::span<const SampleRequest> requests,
                      std::span<const int32_t> keep_in, TokenId* last_tokens,
                      std::span<SampleResult> results, KernelQueue queue, StepMode mode);
  // Whether all requests that were staged or recorded in this step fit.
  bool fits() const { return fits_; }
  // Queues the copy of this step's requests to the device.
  cudaError_t Flush(cudaStream_t stream);
  // Forgets the requests of this step, which must have been staged or recorded, not launched.
  void Rewind();

  // Queues the copy of this step's results to the host. Later calls belong to the next step.
  absl::Status EndStep(cudaStream_t stream);
  // Writes the results of the oldest ended step. The stream must have finished that step.
  void Collect();
  // Waits for the stream and writes the results of this step so far. Then the step starts afresh.
  absl::Status Finish(cudaStream_t stream);

 private:
  // The most rows of one launch. There is scratch for this many.
  static constexpr int64_t kLaunchRows = 64;
  // The number of edits that fit at a time, or the size of the vocabulary if that is larger, since
  // all edits of a row must fit.
  static constexpr int64_t kEdits = 1 << 16;

  struct Pending {
    std::span<SampleResult> results;
    int64_t first_row = 0;  // row of the step that results[0] belongs to
  };
  struct Step {
    std::vector<Pending> pending;
    std::vector<int32_t> top_counts;  // of each row, the number of top tokens
    int32_t most_top = 0;             // the greatest of top_counts
    PinnedBytes host;                 // chosen [max_rows_], then top [max_rows_, kMaxTopLogprobs]

    TokenLogprob* chosen() const { return reinterpret_cast<TokenLogprob*>(host.data()); }
    int64_t rows() const { return static_cast<int64_t>(top_counts.size()); }
    void Clear();
  };

  // The number of requests, from the first one on, that one launch can take.
  int64_t CountRows(std::span<const SampleRequest> requests) const;
  absl::Status Launch(MatrixView<const float> logits, std::span<const SampleRequest> requests,
                      std::span<const int32_t> keep_in, TokenId* last_tokens,
                      std::span<SampleResult> results, KernelQueue queue, StepMode mode);
  // Stages the requests of a launch. Returns the address where the launch reads them on the device.
  const DeviceRequest* Put(std::span<const SampleRequest> requests,
                           std::span<const int32_t> keep_in);
  absl::Status QueueResults(const Step& step, cudaStream_t stream) const;
  void Write(Step& step) const;

  int64_t max_rows_ = 0;
  int64_t columns_ = 0;
  int64_t edit_bytes_ = 0;  // the size of edits_
  Staging requests_;        // DeviceRequest; at equal addresses in steps of equal numbers of rows
  Staging edits_;           // LogitEdit, of the requests that have edits
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
