// The way of small host arrays to the device, without allocating or waiting.
#ifndef RETNET_KERNELS_CUDA_RUNTIME_STAGING_H_
#define RETNET_KERNELS_CUDA_RUNTIME_STAGING_H_

#include <cuda_runtime.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "absl/status/statusor.h"
#include "kernels/cuda/runtime/device_array.h"
#include "kernels/kernels.h"

namespace retnet::cuda {

// Pinned host memory, owned: what the device copies from or to while the host goes on.
class PinnedBytes {
 public:
  PinnedBytes() = default;
  // RESOURCE_EXHAUSTED when there is no such memory.
  static absl::StatusOr<PinnedBytes> Make(int64_t size);

  std::byte* data() const { return data_.get(); }

 private:
  struct Free {
    void operator()(std::byte* memory) const { cudaFreeHost(memory); }
  };
  std::unique_ptr<std::byte, Free> data_;
};

// Device memory that small arrays of a step are copied to, front to back, and pinned memory that
// they wait in, of which each step in flight has its own. The device's is one, so that the arrays
// of steps that send the same ones lie at the same addresses: a stream passes one step before the
// next one's arrays arrive.
class Staging {
 public:
  Staging() = default;
  static absl::StatusOr<Staging> Make(int64_t bytes);

  // Every array starts at a multiple of this.
  static constexpr int64_t kAlignment = 256;
  static int64_t Space(int64_t bytes) { return (bytes + kAlignment - 1) / kAlignment * kAlignment; }
  bool HasRoomFor(int64_t bytes) const { return Space(bytes) <= size_ - used_; }

  // Takes a copy of `values` and gives the address on the device where Flush sends it; nullptr
  // where there is no room.
  template <typename T>
  const T* Put(std::span<const T> values) {
    return static_cast<const T*>(PutBytes(std::as_bytes(values)));
  }
  // Queues one copy of all that was put since the last Flush.
  cudaError_t Flush(cudaStream_t stream);
  // Forgets what was put in this step.
  void Rewind() { used_ = flushed_ = 0; }
  // Goes on with the pinned memory of the step after, which must be over in its last use.
  void NextStep() {
    set_ = (set_ + 1) % kStepsInFlight;
    Rewind();
  }

 private:
  const void* PutBytes(std::span<const std::byte> bytes);

  std::array<PinnedBytes, kStepsInFlight> host_;
  DeviceArray<std::byte> device_;
  int64_t size_ = 0;
  int32_t set_ = 0;
  int64_t used_ = 0;
  int64_t flushed_ = 0;
};

}  // namespace retnet::cuda

#endif  // RETNET_KERNELS_CUDA_RUNTIME_STAGING_H_
