// The CUDA backend. It queues the operators of the concept Kernels on one stream.
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

// Uses the first device of CUDA_VISIBLE_DEVICES, which must have compute capability 8.0 or newer.
// Sampled rows and prompt rows use different matrix products (matmul/matmul.h) and retention
// kernels (retention/retention.h). Within a class, the bits of a row depend neither on the other
// rows nor on its place. Operators return before they are computed. WaitStep and Finish return
// errors; after the first error they always return it. Thread-compatible. Must not be moved after
// its first use.
class CudaKernels {
 public:
  using Weight = CudaWeight;
  using Buffer = DeviceArray<float>;
  static constexpr bool kQueues = true;
  static constexpr ElementType kTailType = ElementType::kBFloat16;
  using States = CudaStates;
  using RetentionPlan = DevicePlan;
  struct PositionTables {
    int64_t pairs = 0;
    int64_t heads = 0;           // 0: not normalized
    int64_t rows = 0;            // rows that FillPositionTables has written
    DeviceArray<double> thetas;  // [pairs], radians per token
    DeviceArray<double> decays;  // [heads], γ
    Buffer cosines;              // [max_rows, pairs]
    Buffer sines;                // [max_rows, pairs]
    Buffer decay_sums;           // [max_rows, heads]
  };

  struct LastTokens {
    DeviceArray<TokenId> tokens;  // [slots]
  };

  // For steps of up to `max_rows` rows. `replays` enables Replays; `overlaps` enables Overlaps, if
  // the device supports it. UNAVAILABLE if there is no suitable device or driver.
  static absl::StatusOr<CudaKernels> Make(int32_t max_rows, bool replays = false,
                                          bool overlaps = true);

  // For example "NVIDIA A100-SXM4-80GB".
  const std::string& device_name() const { return device_name_; }
  // The memory of the device now.
  static absl::StatusOr<DeviceMemory> Memory();

  // See the concept Kernels. Errors are those of CudaStatus, and INVALID_ARGUMENT for tensors that
  // cannot be stacked.
  absl::StatusOr<Weight> Pack(std::span<const HostTensor> tensors);
  absl::StatusOr<Buffer> Upload(std::span<const float> values);
  absl::StatusOr<Buffer> Allocate(int64_t size) { return Buffer::Make(size); }
  absl::StatusOr<States> AllocateStates(const RetentionShape& shape, std::span<const float> decay);
  absl::StatusOr<LastTokens> AllocateLastTokens(int32_t slots);
  absl::StatusOr<PositionTables> AllocatePositionTables(int64_t max_rows,
                                                        std::span<const double> thetas,
                                                        std::span<const float> decays);

  void SetSampledRows(int32_t rows) { sampled_rows_ = rows; }
  RetentionPlan PlanRetention(std::span<const RetentionSegment> segments);

  void Embed(std::span<const TokenId> tokens, const LastTokens& last_tokens, const Weight& weight,
             float multiplier, MatrixView<float> x);
  void Normalize(Norm norm, MatrixView<float> x);
  void FillPositionTables(std::span<const int32_t> positions, PositionTables& tables);
  void NormMatMul(MatrixView<const float> x, Norm norm, const Weight& weight, MatrixView<float> y);
  void MatMulAdd(MatrixView<const float> y, const Weight& weight, MatrixView<float> x);
  void NormGatedMatMul(MatrixView<const float> x, Norm norm, const Weight& weight,
                       Activation activation, MatrixView<float> y);
  void Retention(int32_t layer, const RetentionPlan& plan, MatrixView<const float> projections,
                 const PositionTables& tables, Norm norm, States& states, MatrixView<float> out);
  void Gather(MatrixView<const float> x, std::span<const int32_t> indices, MatrixView<float> y);
  void Sample(MatrixView<const float> logits, std::span<const SampleRequest> requests,
              std::span<const int32_t> keep_in, LastTokens& last_tokens,
              std::span<SampleResult> results);

  // Steps are recorded as CUDA graphs; a replay is one call on the host. A step whose logit edits
  // do not all fit into their memory is launched kernel by kernel instead.
  bool Replays() const { return replays_; }
  absl::Status Record(int32_t rows, absl::FunctionRef<void()> operators);
  void Replay(int32_t rows, absl::FunctionRef<void()> operators);
  // Whether kernels of decode steps may begin before the kernels queued earlier have ended. Needs
  // support by the device and by the kernels' code: see runtime/launch.cuh.
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
  // Stores `error` in status_, unless status_ already holds one.
  void KeepFirstError(cudaError_t error, absl::string_view what);
  // Copies `values` to the device and returns the address there, valid until the step ends.
  template <typename T>
  const T* Send(std::span<const T> values);
  // Whether operators launch kernels. After an error they do not: the kernel's input may never have
  // arrived.
  bool launches() const { return mode_ != StepMode::kStage && status_.ok(); }
  KernelQueue queue() const { return {stream_.get(), overlaps_}; }
  // Forgets the arguments staged in this step.
  void Rewind();

  // Constant after construction.
  Stream stream_;
  std::string device_name_;
  int32_t max_rows_ = 0;
  bool replays_ = false;
  bool overlaps_ = false;

  std::optional<CudaMatMul> matmul_;
  CudaSampler sampler_;
  Staging staging_;     // tokens, positions, pieces and indices of the current step
  HostPlan host_plan_;  // scratch of PlanRetention
  StepGraphs graphs_;
  StepMode mode_ = StepMode::kLaunch;
  StepKind step_kind_;  // of the step that is being recorded or staged
  std::array<Event, kStepsInFlight> step_ends_;
  int32_t step_ = 0;                          // index in step_ends_ of the current step
  int32_t ended_ = 0;                         // steps that have ended and not been waited for
  std::unique_ptr<CudaTransfers> transfers_;  // set by AllocateStates
  int32_t sampled_rows_ = std::numeric_limits<int32_t>::max();
  absl::Status status_;
};

}  // namespace retnet::cuda

#endif  // RETNET_KERNELS_CUDA_CUDA_KERNELS_H_
