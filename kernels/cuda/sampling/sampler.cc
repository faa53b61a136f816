#include "kernels/cuda/sampling/sampler.h"

#include <algorithm>

#include "kernels/cuda/runtime/cuda_status.h"
#include "kernels/status_macros.h"

namespace retnet::cuda {
namespace {

// The edits of a request. None if it scores a token.
std::span<const LogitEdit> EditsOf(const SampleRequest& request) {
  return request.scored_token == kNoToken ? request.sampling.edits : std::span<const LogitEdit>();
}

int64_t EditSpace(const SampleRequest& request) {
  return Staging::Space(EditsOf(request).size() * sizeof(LogitEdit));
}

}  // namespace

absl::StatusOr<CudaSampler> CudaSampler::Make(int64_t max_rows) {
  CudaSampler sampler;
  sampler.max_rows_ = max_rows = std::max(max_rows, kLaunchRows);
  ASSIGN_OR_RETURN(sampler.chosen_, DeviceArray<TokenLogprob>::Make(max_rows));
  ASSIGN_OR_RETURN(sampler.top_, DeviceArray<TokenLogprob>::Make(max_rows * kMaxTopLogprobs));
  // Sized for launches of one row each, which happen if the edits of one row fill their memory.
  ASSIGN_OR_RETURN(sampler.requests_,
                   Staging::Make(max_rows * Staging::Space(sizeof(DeviceRequest))));
  sampler.requests_of_launch_.reserve(kLaunchRows);
  for (Step& step : sampler.steps_) {
    step.pending.reserve(max_rows);
    step.top_counts.reserve(max_rows);
    ASSIGN_OR_RETURN(step.host,
                     PinnedBytes::Make(max_rows * (1 + kMaxTopLogprobs) * sizeof(TokenLogprob)));
  }
  return sampler;
}

absl::Status CudaSampler::Reserve(int64_t columns) {
  if (columns <= columns_) return absl::OkStatus();
  edit_bytes_ = Staging::Space(std::max(kEdits, columns) * sizeof(LogitEdit));
  ASSIGN_OR_RETURN(edits_, Staging::Make(edit_bytes_));
  ASSIGN_OR_RETURN(edited_, DeviceArray<float>::Make(kLaunchRows * EditedStride(columns)));
  columns_ = columns;
  return absl::OkStatus();
}

// Counts requests whose edits fit together into empty memory; at least one.
int64_t CudaSampler::CountRows(std::span<const SampleRequest> requests) const {
  int64_t bytes = 0;
  int64_t rows = 0;
  for (const SampleRequest& request :
       requests.first(std::min<size_t>(requests.size(), kLaunchRows))) {
    bytes += EditSpace(request);
    if (bytes > edit_bytes_) break;
    ++rows;
  }
  return std::max<int64_t>(rows, 1);
}

absl::Status CudaSampler::Sample(MatrixView<const float> logits,
                                 std::span<const SampleRequest> requests,
                                 std::span<const int32_t> keep_in, TokenId* last_tokens,
                                 std::span<SampleResult> results, KernelQueue queue,
                                 StepMode mode) {
  int64_t first = 0;
  while (first < static_cast<int64_t>(requests.size())) {
    const int64_t rows = CountRows(requests.subspan(first));
    RETURN_IF_ERROR(Launch(logits.Rows(first, rows), requests.subspan(first, rows),
                           keep_in.subspan(first, rows), last_tokens, results.subspan(first, rows),
                           queue, mode));
    first += rows;
  }
  return absl::OkStatus();
}

absl::Status CudaSampler::Launch(MatrixView<const float> logits,
                                 std::span<const SampleRequest> requests,
                                 std::span<const int32_t> keep_in, TokenId* last_tokens,
                                 std::span<SampleResult> results, KernelQueue queue,
                                 StepMode mode) {
  const auto rows = static_cast<int64_t>(requests.size());
  int64_t edit_bytes = 0;
  for (const SampleRequest& request : requests) edit_bytes += EditSpace(request);
  const bool rows_fit = steps_[current_].rows() + rows <= max_rows_;
  if (!rows_fit || !edits_.HasRoomFor(edit_bytes)) {
    if (mode != StepMode::kLaunch) {
      fits_ = false;
      return absl::OkStatus();
    }
    if (!rows_fit) RETURN_IF_ERROR(Finish(queue.stream));
    RETURN_IF_ERROR(CudaStatus(cudaStreamSynchronize(queue.stream), "a step on the device"));
    edits_.Rewind();
  }
  Step& step = steps_[current_];
  const DeviceRequest* device_requests = Put(requests, keep_in);
  const int64_t first_row = step.rows();
  step.pending.push_back({results, first_row});
  for (const SampleRequest& request : requests) {
    step.top_counts.push_back(std::min<int32_t>(request.top_logprobs, logits.columns));
    step.most_top = std::max(step.most_top, step.top_counts.back());
  }
  if (mode == StepMode::kStage) return absl::OkStatus();
  if (mode == StepMode::kLaunch) {
    RETURN_IF_ERROR(CudaStatus(Flush(queue.stream), "sending sample requests"));
  }
  const SampledRows sampled_rows{.logits = logits,
                                 .requests = device_requests,
                                 .edited = edited_.data(),
                                 .chosen = chosen_.data() + first_row,
                                 .top = top_.data() + first_row * kMaxTopLogprobs,
                                 .last_tokens = last_tokens};
  return CudaStatus(cuda::Sample(sampled_rows, queue), "sampling");
}

const DeviceRequest* CudaSampler::Put(std::span<const SampleRequest> requests,
                                      std::span<const int32_t> keep_in) {
  requests_of_launch_.clear();
  for (size_t i = 0; i < requests.size(); ++i) {
    const SampleRequest& request = requests[i];
    const Sampling& sampling = request.sampling;
    const std::span<const LogitEdit> edits = EditsOf(request);
    requests_of_launch_.push_back({.seed = sampling.seed,
                                   .draw = sampling.draw,
                                   .scored_token = request.scored_token,
                                   .temperature = sampling.temperature,
                                   .top_k = sampling.top_k,
                                   .top_p = sampling.top_p,
                                   .min_p = sampling.min_p,
                                   .edits = edits_.Put(edits),
                                   .edit_count = static_cast<int32_t>(edits.size()),
                                   .top_logprobs = request.top_logprobs,
                                   .keep_in = keep_in[i],
                                   .logprob = request.logprob});
  }
  return requests_.Put<DeviceRequest>(requests_of_launch_);
}

cudaError_t CudaSampler::Flush(cudaStream_t stream) {
  const cudaError_t error = requests_.Flush(stream);
  return error == cudaSuccess ? edits_.Flush(stream) : error;
}

void CudaSampler::Rewind() {
  requests_.Rewind();
  edits_.Rewind();
  steps_[current_].Clear();
  fits_ = true;
}

absl::Status CudaSampler::EndStep(cudaStream_t stream) {
  const absl::Status status = QueueResults(steps_[current_], stream);
  current_ = (current_ + 1) % kStepsInFlight;
  ++ended_;
  requests_.NextStep();
  edits_.NextStep();
  return status;
}

absl::Status CudaSampler::QueueResults(const Step& step, cudaStream_t stream) const {
  if (step.rows() == 0) return absl::OkStatus();
  RETURN_IF_ERROR(
      CudaStatus(cudaMemcpyAsync(step.chosen(), chosen_.data(), step.rows() * sizeof(TokenLogprob),
                                 cudaMemcpyDeviceToHost, stream),
                 "reading results"));
  if (step.most_top == 0) return absl::OkStatus();
  constexpr size_t kPitch = kMaxTopLogprobs * sizeof(TokenLogprob);
  return CudaStatus(cudaMemcpy2DAsync(step.chosen() + max_rows_, kPitch, top_.data(), kPitch,
                                      step.most_top * sizeof(TokenLogprob), step.rows(),
                                      cudaMemcpyDeviceToHost, stream),
                    "reading log-probabilities");
}

void CudaSampler::Collect() {
  Write(steps_[(current_ + kStepsInFlight - ended_) % kStepsInFlight]);
  --ended_;
}

absl::Status CudaSampler::Finish(cudaStream_t stream) {
  absl::Status status = QueueResults(steps_[current_], stream);
  status.Update(CudaStatus(cudaStreamSynchronize(stream), "a step on the device"));
  if (status.ok()) Write(steps_[current_]);
  Rewind();
  return status;
}

void CudaSampler::Write(Step& step) const {
  for (const Pending& pending : step.pending) {
    for (size_t i = 0; i < pending.results.size(); ++i) {
      const int64_t row = pending.first_row + static_cast<int64_t>(i);
      const TokenLogprob* top = step.chosen() + max_rows_ + row * kMaxTopLogprobs;
      SampleResult& result = pending.results[i];
      result.token = step.chosen()[row].token;
      result.logprob = step.chosen()[row].logprob;
      result.top.assign(top, top + (result.token == kNoToken ? 0 : step.top_counts[row]));
    }
  }
  step.Clear();
}

void CudaSampler::Step::Clear() {
  pending.clear();
  top_counts.clear();
  most_top = 0;
}

}  // namespace retnet::cuda
