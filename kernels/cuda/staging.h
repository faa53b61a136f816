// The way of small host arrays to the device, without allocating or waiting.
#ifndef RETNET_KERNELS_CUDA_STAGING_H_
#define RETNET_KERNELS_CUDA_STAGING_H_

#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <span>

#include "absl/status/statusor.h"
#include "kernels/cuda/device_array.h"

namespace retnet {

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

// Hands out pinned memory, and device memory of the same size, front to back until Clear.
class Staging {
 public:
  Staging() = default;
  static absl::StatusOr<Staging> Make(int64_t bytes);

  // Every array starts at a multiple of this.
  static constexpr int64_t kAlignment = 256;
  static int64_t Space(int64_t bytes) { return (bytes + kAlignment - 1) / kAlignment * kAlignment; }
  bool HasRoomFor(int64_t bytes) const { return Space(bytes) <= size_ - used_; }

  // Queues a copy of `values`, which the caller may then reuse, and gives its address on the
  // device, valid until Clear. nullptr where there is no room.
  template <typename T>
  const T* Send(std::span<const T> values, cudaStream_t stream) {
    return static_cast<const T*>(SendBytes(std::as_bytes(values), stream));
  }
  // Only after the stream has passed all that was sent.
  void Clear() { used_ = 0; }

 private:
  const void* SendBytes(std::span<const std::byte> bytes, cudaStream_t stream);

  PinnedBytes host_;
  DeviceArray<std::byte> device_;
  int64_t size_ = 0;
  int64_t used_ = 0;
};

}  // namespace retnet

#endif  // RETNET_KERNELS_CUDA_STAGING_H_
