#include "kernels/cuda/answerer.h"

#include <algorithm>

#include "kernels/cuda/cuda_status.h"
#include "kernels/status_macros.h"

namespace retnet {

absl::StatusOr<CudaAnswerer> CudaAnswerer::Make(int64_t max_rows) {
  CudaAnswerer answerer;
  answerer.max_rows_ = max_rows = std::max(max_rows, kLaunchRows);
  ASSIGN_OR_RETURN(answerer.chosen_, DeviceArray<TokenLogprob>::Make(kLaunchRows));
  ASSIGN_OR_RETURN(answerer.top_, DeviceArray<TokenLogprob>::Make(kLaunchRows * kMaxTopLogprobs));
  ASSIGN_OR_RETURN(answerer.host_,
                   PinnedBytes::Make(max_rows * (1 + kMaxTopLogprobs) * sizeof(TokenLogprob)));
  answerer.queries_.reserve(kLaunchRows);
  answerer.pending_.reserve(max_rows);
  answerer.top_counts_.reserve(max_rows);
  return answerer;
}

absl::Status CudaAnswerer::Reserve(int64_t columns) {
  if (columns <= columns_) return absl::OkStatus();
  const int64_t edits = std::max(kEdits, columns);
  // The queries of a step's launches, and of each its edits.
  const int64_t query_bytes =
      max_rows_ / kLaunchRows *
      (Staging::Space(kLaunchRows * sizeof(DeviceQuery)) + Staging::kAlignment);
  ASSIGN_OR_RETURN(staging_,
                   Staging::Make(query_bytes + Staging::Space(edits * sizeof(LogitEdit))));
  ASSIGN_OR_RETURN(edited_, DeviceArray<float>::Make(kLaunchRows * AnswerStride(columns)));
  edits_.reserve(edits);
  columns_ = columns;
  return absl::OkStatus();
}

// The first of the queries whose edits fit together into empty memory; at least one.
int64_t CudaAnswerer::CountRows(std::span<const LogitsQuery> queries) const {
  const int64_t most = std::max(kEdits, columns_);
  int64_t edits = 0;
  int64_t rows = 0;
  for (const LogitsQuery& query : queries.first(std::min<size_t>(queries.size(), kLaunchRows))) {
    edits += query.given == kNoToken ? query.sampling.edits.size() : 0;
    if (edits > most) break;
    ++rows;
  }
  return std::max<int64_t>(rows, 1);
}

absl::Status CudaAnswerer::Answer(MatrixView<const float> logits,
                                  std::span<const LogitsQuery> queries,
                                  std::span<LogitsAnswer> answers, cudaStream_t stream) {
  int64_t first = 0;
  while (!queries.empty()) {
    const int64_t rows = CountRows(queries);
    RETURN_IF_ERROR(
        Launch(logits.Rows(first, rows), queries.first(rows), answers.first(rows), stream));
    first += rows;
    queries = queries.subspan(rows);
    answers = answers.subspan(rows);
  }
  return absl::OkStatus();
}

absl::Status CudaAnswerer::Launch(MatrixView<const float> logits,
                                  std::span<const LogitsQuery> queries,
                                  std::span<LogitsAnswer> answers, cudaStream_t stream) {
  queries_.clear();
  edits_.clear();
  int32_t top_stride = 0;
  for (const LogitsQuery& query : queries) {
    const Sampling& sampling = query.sampling;
    const std::span<const LogitEdit> edits =
        query.given == kNoToken ? sampling.edits : std::span<const LogitEdit>();
    queries_.push_back({.seed = sampling.seed,
                        .draw = sampling.draw,
                        .given = query.given,
                        .temperature = sampling.temperature,
                        .top_k = sampling.top_k,
                        .top_p = sampling.top_p,
                        .min_p = sampling.min_p,
                        .first_edit = static_cast<int32_t>(edits_.size()),
                        .edits = static_cast<int32_t>(edits.size()),
                        .top_logprobs = query.top_logprobs,
                        .logprob = query.logprob});
    edits_.insert(edits_.end(), edits.begin(), edits.end());
    top_stride = std::max(top_stride, query.top_logprobs);
  }
  const int64_t bytes = Staging::Space(queries_.size() * sizeof(DeviceQuery)) +
                        Staging::Space(edits_.size() * sizeof(LogitEdit));
  if (!staging_.HasRoomFor(bytes) || top_counts_.size() + queries.size() > max_rows_) {
    RETURN_IF_ERROR(Collect(stream));
  }
  const AnswerRows rows{.logits = logits,
                        .queries = staging_.Send<DeviceQuery>(queries_, stream),
                        .edits = staging_.Send<LogitEdit>(edits_, stream),
                        .edited = edited_.data(),
                        .chosen = chosen_.data(),
                        .top = top_.data(),
                        .top_stride = top_stride};
  RETURN_IF_ERROR(CudaStatus(retnet::Answer(rows, stream), "answering logits"));
  const auto first_row = static_cast<int64_t>(top_counts_.size());
  pending_.push_back({answers, first_row, top_stride});
  for (const LogitsQuery& query : queries) {
    top_counts_.push_back(std::min<int32_t>(query.top_logprobs, logits.columns));
  }
  RETURN_IF_ERROR(CudaStatus(
      cudaMemcpyAsync(host_chosen() + first_row, chosen_.data(), logits.rows * sizeof(TokenLogprob),
                      cudaMemcpyDeviceToHost, stream),
      "reading answers"));
  if (top_stride > 0) {
    RETURN_IF_ERROR(
        CudaStatus(cudaMemcpyAsync(host_top() + first_row * kMaxTopLogprobs, top_.data(),
                                   logits.rows * top_stride * sizeof(TokenLogprob),
                                   cudaMemcpyDeviceToHost, stream),
                   "reading log-probabilities"));
  }
  return absl::OkStatus();
}

absl::Status CudaAnswerer::Collect(cudaStream_t stream) {
  const absl::Status status = CudaStatus(cudaStreamSynchronize(stream), "a step on the device");
  for (const Pending& pending : pending_) {
    const TokenLogprob* top = host_top() + pending.first_row * kMaxTopLogprobs;
    for (size_t i = 0; i < pending.answers.size() && status.ok(); ++i) {
      const TokenLogprob& chosen = host_chosen()[pending.first_row + i];
      LogitsAnswer& answer = pending.answers[i];
      answer.token = chosen.token;
      answer.logprob = chosen.logprob;
      const TokenLogprob* first = top + i * pending.top_stride;
      answer.top.assign(first, first + top_counts_[pending.first_row + i]);
    }
  }
  pending_.clear();
  top_counts_.clear();
  staging_.Clear();
  return status;
}

TokenLogprob* CudaAnswerer::host_chosen() const {
  return reinterpret_cast<TokenLogprob*>(host_.data());
}

TokenLogprob* CudaAnswerer::host_top() const { return host_chosen() + max_rows_; }

}  // namespace retnet
