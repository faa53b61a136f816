// The CUDA backend: the operators of the concept Kernels, queued on one stream.
#ifndef RETNET_KERNELS_CUDA_CUDA_KERNELS_H_
#define RETNET_KERNELS_CUDA_CUDA_KERNELS_H_

#include <cuda_runtime.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "kernels/cuda/matmul/matmul.h"
#include "kernels/cuda/matmul/weight.h"
#include "kernels/cuda/retention/retention.h"
#include "kernels/cuda/retention/states.h"
#include "kernels/cuda/runtime/cuda_handles.h"
#include "kernels/cuda/runtime/device_array.h"
#include "kernels/cuda/runtime/kernel_queue.h"
#include "kernels/cuda/runtime/staging.h"
#include "kernels/cuda/runtime/step_graphs.h"
#include "kernels/cuda/runtime/step_mode.h"
#include "kernels/cuda/sampling/sampler.h"
#include "kernels/cuda/transfers.h"
#include "kernels/kernels.h"
#include "kernels/tensor.h"

namespace retnet::cuda {

// Bytes of device memory.
struct DeviceMemory {
  int64_t free = 0;
  int64_t total = 0;
};

// Device 0 of those that CUDA_VISIBLE_DEVICES leaves, which must be of compute capability 8.0 or
// newer. Sampled and given rows go through different products (products.h) and retention kernels
// (retention.h); within a class a row's bits depend neither on the rows beside it nor on its place.
// Operators return before they are computed; errors show in WaitStep and Finish, the first one for
// good. Thread-compatible; moves before its first use only.
class CudaKernels {
 public:
  using Weight = CudaWeight;
  using Buffer = DeviceArray<float>;
  static constexpr bool kQueues = true;
  static constexpr ElementType kTailType = ElementType::kBFloat16;
  using States = CudaStates;
  using Segments = DevicePlan;
  struct Rotation {
    int64_t pairs = 0;
    int64_t rows = 0;            // that Rotate has written
    DeviceArray<double> thetas;  // [pairs], radians a token
    Buffer cosines;              // [max_rows, pairs]
    Buffer sines;                // [max_rows, pairs]
  };

  struct LastTokens {
    DeviceArray<TokenId> tokens;  // [slots]
  };

  // For steps of up to `max_rows` rows; `replays`: see Replays; `overlaps`: see Overlaps.
  // UNAVAILABLE without a device or driver that serves.
  static absl::StatusOr<CudaKernels> Make(int32_t max_rows, bool replays = false,
                                          bool overlaps = true);

  // "NVIDIA A100-SXM4-80GB".
  const std::string& device_name() const { return device_name_; }
  static absl::StatusOr<DeviceMemory> Memory();

  // See the concept Kernels. Errors as CudaStatus, and INVALID_ARGUMENT for tensors that cannot be
  // stacked.
  absl::StatusOr<Weight> Pack(std::span<const HostTensor> tensors);
  absl::StatusOr<Buffer> Upload(std::span<const float> values);
  absl::StatusOr<Buffer> Allocate(int64_t size) { return Buffer::Make(size); }
  absl::StatusOr<States> AllocateStates(const RetentionShape& shape, std::span<const float> decay);
  absl::StatusOr<LastTokens> AllocateLastTokens(int32_t slots);
  absl::StatusOr<Rotation> AllocateRotation(int64_t max_rows, std::span<const double> thetas);

  void SetSampledRows(int32_t rows) { sampled_rows_ = rows; }
  Segments PlanRetention(std::span<const RetentionSegment> segments);

  void Embed(std::span<const TokenId> tokens, const LastTokens& last_tokens, const Weight& weight,
             float multiplier, MatrixView<float> x);
  void Normalize(Norm norm, MatrixView<float> x);
  void Rotate(std::span<const int32_t> positions, Rotation& rotation);
  void NormMatMul(MatrixView<const float> x, Norm norm, const Weight& weight, MatrixView<float> y);
  void MatMulAdd(MatrixView<const float> y, const Weight& weight, MatrixView<float> x);
  void NormGatedMatMul(MatrixView<const float> x, Norm norm, const Weight& weight,
                       Activation activation, MatrixView<float> y);
  void Retention(int32_t layer, const Segments& segments, MatrixView<const float> projections,
                 const Rotation& rotation, Norm norm, States& states, MatrixView<float> out);
  void Gather(MatrixView<const float> x, std::span<const int32_t> indices, MatrixView<float> y);
  void Sample(MatrixView<const float> logits, std::span<const SampleRequest> queries,
              std::span<const int32_t> keep_in, LastTokens& last_tokens,
              std::span<SampleResult> results);

  // Steps are replayed as CUDA graphs, whose launches take the host one call. A step whose edits of
  // logits are more than fit at a time is launched as it is called.
  bool Replays() const { return replays_; }
  absl::Status Record(int32_t rows, absl::FunctionRef<void()> operators);
  void Replay(int32_t rows, absl::FunctionRef<void()> operators);
  // Kernels of decode steps begin before those before them have ended, where the device and the
  // code for it can: see launch.cuh.
  bool Overlaps() const { return overlaps_; }
  void EndStep();
  absl::Status WaitStep();
  void CopyLastToken(int32_t from, int32_t to, LastTokens& last_tokens);

  int64_t BaseBytes(const RetentionShape& shape) const { return States::BaseBytes(shape); }
  int64_t TailTokenBytes(const RetentionShape& shape) const {
    return States::TailTokenBytes(shape);
  }
  void ReadBase(const States& states, int32_t base, std::span<std::byte> bytes);
  void WriteBase(std::span<const std::byte> bytes, int32_t base, States& states);
  void ReadTail(const States& states, int32_t slot, int32_t tokens, std::span<std::byte> bytes);
  void WriteTail(std::span<const std::byte> bytes, int32_t tokens, int32_t slot, States& states);
  void CopyTail(int32_t from, int32_t to, int32_t tokens, States& states);
  void AfterTransfers(std::function<void(const absl::Status&)> done);
  absl::Status Finish();

 private:
  CudaKernels() = default;

  int32_t SampledOf(int64_t rows) const {
    return static_cast<int32_t>(std::min<int64_t>(rows, sampled_rows_));
  }
  // Keeps the first error.
  void KeepFirstError(cudaError_t error, absl::string_view what);
  // The address on the device of a copy of `values`, for the rest of the step.
  template <typename T>
  const T* Send(std::span<const T> values);
  // Not after an error either: what a kernel was to read may never have arrived.
  bool launches() const { return mode_ != StepMode::kStage && status_.ok(); }
  KernelQueue queue() const { return {stream_.get(), overlaps_}; }
  void Rewind();

  // Constant after construction.
  Stream stream_;
  std::string device_name_;
  int32_t max_rows_ = 0;
  bool replays_ = false;
  bool overlaps_ = false;

  std::optional<CudaMatMul> matmul_;
  CudaSampler sampler_;
  Staging staging_;     // tokens, positions, pieces and indices of a step
  HostPlan host_plan_;  // scratch of PlanRetention
  StepGraphs graphs_;
  StepMode mode_ = StepMode::kLaunch;
  StepKind step_kind_;  // of the step being recorded or staged
  std::array<Event, kStepsInFlight> step_ends_;
  int32_t step_ = 0;   // the one whose operators are called; its event is step_ends_[step_]
  int32_t ended_ = 0;  // and not waited for
  std::unique_ptr<CudaTransfers> transfers_;  // once there are states
  int32_t sampled_rows_ = std::numeric_limits<int32_t>::max();
  absl::Status status_;
};

}  // namespace retnet::cuda

#endif  // RETNET_KERNELS_CUDA_CUDA_KERNELS_H_
