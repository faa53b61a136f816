// Copies small host arrays to the device without allocating or waiting.
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

// Owns pinned host memory, which the device can copy from or to asynchronously. Movable.
class PinnedBytes {
 public:
  PinnedBytes() = default;
  // RESOURCE_EXHAUSTED if the memory cannot be allocated.
  static absl::StatusOr<PinnedBytes> Make(int64_t size);

  std::byte* data() const { return data_.get(); }

 private:
  struct Free {
    void operator()(std::byte* memory) const { cudaFreeHost(memory); }
  };
  std::unique_ptr<std::byte, Free> data_;
};

// Arrays are appended to pinned memory and then copied to the same offsets of device memory. Each
// step in flight has its own pinned memory. The device memory is shared by all steps: the stream
// finishes a step before the arrays of the next one arrive. So steps that send arrays of the same
// sizes find them at the same device addresses, which recorded steps rely on. Thread-compatible.
class Staging {
 public:
  Staging() = default;
  // For steps that put up to `bytes`, each array rounded up to Space(its bytes).
  static absl::StatusOr<Staging> Make(int64_t bytes);

  // Every array starts at a multiple of this.
  static constexpr int64_t kAlignment = 256;
  static int64_t Space(int64_t bytes) { return (bytes + kAlignment - 1) / kAlignment * kAlignment; }
  bool HasRoomFor(int64_t bytes) const { return Space(bytes) <= size_ - used_; }

  // Copies `values` to pinned memory. Returns the device address that Flush will copy them to, or
  // nullptr if there is no room.
  template <typename T>
  const T* Put(std::span<const T> values) {
    return static_cast<const T*>(PutBytes(std::as_bytes(values)));
  }
  // Queues one copy of all arrays that were put since the last Flush.
  cudaError_t Flush(cudaStream_t stream);
  // Forgets the arrays that were put in this step.
  void Rewind() { used_ = flushed_ = 0; }
  // Switches to the pinned memory of the next step. The last step that used it must be over.
  void NextStep() {
    set_ = (set_ + 1) % kStepsInFlight;
    Rewind();
  }

 private:
  const void* PutBytes(std::span<const std::byte> bytes);

  std::array<PinnedBytes, kStepsInFlight> host_;
  DeviceArray<std::byte> device_;
  int64_t size_ = 0;
  int32_t set_ = 0;      // index in host_ of the current step
  int64_t used_ = 0;     // bytes put in this step
  int64_t flushed_ = 0;  // of these, bytes that are queued to be copied
};

}  // namespace retnet::cuda

#endif  // RETNET_KERNELS_CUDA_RUNTIME_STAGING_H_
