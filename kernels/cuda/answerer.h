// The operator Answer of the concept Kernels on a GPU: queries there, answers back.
#ifndef RETNET_KERNELS_CUDA_ANSWERER_H_
#define RETNET_KERNELS_CUDA_ANSWERER_H_

#include <cuda_runtime.h>

#include <cstdint>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "kernels/cuda/answer.h"
#include "kernels/cuda/device_array.h"
#include "kernels/cuda/staging.h"
#include "kernels/sampling.h"
#include "kernels/tensor.h"

namespace retnet {

// Only token ids and the log-probabilities that are asked for cross the bus. Thread-compatible.
class CudaAnswerer {
 public:
  CudaAnswerer() = default;
  // For steps of up to `max_rows` rows.
  static absl::StatusOr<CudaAnswerer> Make(int64_t max_rows);

  // Makes room for rows of up to `columns` logits: before the first Answer over such rows.
  absl::Status Reserve(int64_t columns);

  // Queues the answers of all rows; `answers` lives until Collect. Waits for the stream only where
  // the edits since the last Collect are more than the memory for them holds.
  absl::Status Answer(MatrixView<const float> logits, std::span<const LogitsQuery> queries,
                      std::span<LogitsAnswer> answers, cudaStream_t stream);

  // Waits for the stream and writes the answers of all calls since the last Collect.
  absl::Status Collect(cudaStream_t stream);

 private:
  // Rows that one launch takes, as many as there is scratch for.
  static constexpr int64_t kLaunchRows = 64;
  // Edits that fit at a time, unless the vocabulary is larger: every one of a row must.
  static constexpr int64_t kEdits = 1 << 16;

  // Where a launch's results arrive.
  struct Pending {
    std::span<LogitsAnswer> answers;
    int64_t first_row = 0;  // in host_ and top_counts_
    int32_t top_stride = 0;
  };

  int64_t CountRows(std::span<const LogitsQuery> queries) const;
  absl::Status Launch(MatrixView<const float> logits, std::span<const LogitsQuery> queries,
                      std::span<LogitsAnswer> answers, cudaStream_t stream);
  TokenLogprob* host_chosen() const;
  TokenLogprob* host_top() const;

  int64_t max_rows_ = 0;
  int64_t columns_ = 0;
  Staging staging_;
  DeviceArray<float> edited_;         // [kLaunchRows, AnswerStride(columns_)]
  DeviceArray<TokenLogprob> chosen_;  // [kLaunchRows]
  DeviceArray<TokenLogprob> top_;     // [kLaunchRows, kMaxTopLogprobs]
  PinnedBytes host_;                  // chosen [max_rows_], then top [max_rows_, kMaxTopLogprobs]
  std::vector<DeviceQuery> queries_;
  std::vector<LogitEdit> edits_;
  std::vector<Pending> pending_;
  std::vector<int32_t> top_counts_;  // of each pending row
};

}  // namespace retnet

#endif  // RETNET_KERNELS_CUDA_ANSWERER_H_
