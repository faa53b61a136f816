#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "kernels/cuda/cuda_status.h"
#include "kernels/cuda/device_array.h"
#include "kernels/cuda/retention.h"
#include "kernels/cuda/states.h"
#include "tests/kernels/backends.h"
#include "tests/kernels/retention_cases.h"

namespace retnet {
namespace {

template <typename T>
DeviceArray<T> OnDevice(std::span<const T> values) {
  DeviceArray<T> array = *DeviceArray<T>::Make(values.size());
  EXPECT_EQ(cudaMemcpy(array.data(), values.data(), values.size_bytes(), cudaMemcpyHostToDevice),
            cudaSuccess);
  return array;
}

enum class Rows { kSampled, kGiven };

// As much of the concept Kernels as Retention needs; all rows of a step are of one class.
template <Rows kRows>
class RetentionKernels {
 public:
  using Buffer = DeviceArray<float>;
  using States = CudaStates;
  struct Rotation {
    std::vector<double> theta;
    Buffer cosines;
    Buffer sines;
  };

  absl::StatusOr<Buffer> Upload(std::span<const float> values) { return OnDevice(values); }
  absl::StatusOr<Buffer> Allocate(int64_t size) { return Buffer::Make(size); }
  absl::StatusOr<States> AllocateStates(const RetentionShape& shape, std::span<const float> decay) {
    return States::Make(shape, decay);
  }
  absl::StatusOr<Rotation> AllocateRotation(int64_t, std::span<const double> theta) {
    return Rotation{{theta.begin(), theta.end()}, {}, {}};
  }

  void Rotate(std::span<const int32_t> positions, Rotation& rotation) {
    std::vector<float> cosines, sines;
    for (int32_t position : positions) {
      for (double theta : rotation.theta) {
        cosines.push_back(static_cast<float>(std::cos(position * theta)));
        sines.push_back(static_cast<float>(std::sin(position * theta)));
      }
    }
    rotation.cosines = OnDevice<float>(cosines);
    rotation.sines = OnDevice<float>(sines);
  }

  std::span<const RetentionSegment> LayOut(std::span<const RetentionSegment> segments) {
    return segments;
  }
  void Retention(int32_t layer, std::span<const RetentionSegment> segments,
                 MatrixView<const float> projections, const Rotation& rotation, Norm norm,
                 States& states, MatrixView<float> out) {
    const int64_t pairs = static_cast<int64_t>(rotation.theta.size());
    RetentionLayout layout;
    retnet::LayOut(segments, kRows == Rows::kSampled ? projections.rows : 0, &layout);
    const auto pieces = OnDevice<RetentionPiece>(layout.pieces);
    const auto starts = OnDevice<int32_t>(layout.starts);
    const RetentionInputs inputs{
        layer, projections,
        MatrixView<const float>(rotation.cosines.data(), projections.rows, pairs),
        MatrixView<const float>(rotation.sines.data(), projections.rows, pairs), norm};
    status_.Update(CudaStatus(Retain({pieces.data(), starts.data(), layout.sampled, layout.given},
                                     inputs, states.view(), out, stream_),
                              "retention"));
    status_.Update(Finish());  // the plan is freed here
  }

  int64_t BaseBytes(const RetentionShape& shape) const { return States::BaseBytes(shape); }
  int64_t TailTokenBytes(const RetentionShape& shape) const {
    return States::TailTokenBytes(shape);
  }
  void ReadBase(const States& states, int32_t base, std::span<std::byte> bytes) {
    status_.Update(states.ReadBase(base, bytes, stream_));
  }
  void WriteBase(std::span<const std::byte> bytes, int32_t base, States& states) {
    status_.Update(states.WriteBase(bytes, base, stream_));
    status_.Update(Finish());
  }
  void ReadTail(const States& states, int32_t slot, int32_t tokens, std::span<std::byte> bytes) {
    status_.Update(states.ReadTail(slot, tokens, bytes, stream_));
  }
  void WriteTail(std::span<const std::byte> bytes, int32_t tokens, int32_t slot, States& states) {
    status_.Update(states.WriteTail(bytes, tokens, slot, stream_));
    status_.Update(Finish());
  }
  void CopyTail(int32_t from, int32_t to, int32_t tokens, States& states) {
    status_.Update(states.CopyTail(from, to, tokens, stream_));
  }
  absl::Status Finish() {
    status_.Update(CudaStatus(cudaStreamSynchronize(stream_), "finishing"));
    return status_;
  }

 private:
  cudaStream_t stream_ = nullptr;
  absl::Status status_;
};

template <Rows kRows>
std::vector<float> NumbersOnHost(const RetentionKernels<kRows>&, const float* data, int64_t size) {
  std::vector<float> numbers(size);
  EXPECT_EQ(cudaMemcpy(numbers.data(), data, size * sizeof(float), cudaMemcpyDeviceToHost),
            cudaSuccess);
  return numbers;
}

float RoundedToBFloat16(float x) {
  const auto bits = std::bit_cast<uint32_t>(x);
  return std::bit_cast<float>((bits + 0x7FFFu + (bits >> 16 & 1)) & 0xFFFF0000u);
}

template <Rows kRows>
struct CudaBackend {
  using Type = RetentionKernels<kRows>;
  static bool IsSupported() { return true; }
  static std::unique_ptr<Type> Make(int32_t /*threads*/) { return std::make_unique<Type>(); }
  // A rotated k that is nearly halfway between two bf16 numbers may round otherwise than the
  // textbook's.
  static double RetentionErrorBound() { return 2e-3; }
  static float RoundToTail(float x) { return RoundedToBFloat16(x); }
  static std::string Name() { return kRows == Rows::kSampled ? "cuda_sampled" : "cuda_given"; }
};

using CudaBackends = testing::Types<CudaBackend<Rows::kSampled>, CudaBackend<Rows::kGiven>>;
INSTANTIATE_TYPED_TEST_SUITE_P(Cuda, Retention, CudaBackends, BackendNames);

}  // namespace
}  // namespace retnet
