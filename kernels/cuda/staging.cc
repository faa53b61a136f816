#include "kernels/cuda/staging.h"

#include "absl/strings/str_cat.h"
#include "kernels/cuda/cuda_status.h"
#include "kernels/status_macros.h"

namespace retnet {

absl::StatusOr<PinnedBytes> PinnedBytes::Make(int64_t size) {
  void* memory = nullptr;
  const cudaError_t error = cudaMallocHost(&memory, size);
  if (error != cudaSuccess) {
    cudaGetLastError();  // an error of the call, not of the device
    return CudaStatus(error, absl::StrCat("allocating ", size, " bytes of pinned memory"));
  }
  PinnedBytes bytes;
  bytes.data_.reset(static_cast<std::byte*>(memory));
  return bytes;
}

absl::StatusOr<Staging> Staging::Make(int64_t bytes) {
  Staging staging;
  staging.size_ = Space(bytes);
  ASSIGN_OR_RETURN(staging.host_, PinnedBytes::Make(staging.size_));
  ASSIGN_OR_RETURN(staging.device_, DeviceArray<std::byte>::Make(staging.size_));
  return staging;
}

const void* Staging::SendBytes(std::span<const std::byte> bytes, cudaStream_t stream) {
  const auto size = static_cast<int64_t>(bytes.size());
  if (!HasRoomFor(size)) return nullptr;
  std::byte* host = host_.data() + used_;
  std::byte* device = device_.data() + used_;
  used_ += Space(size);
  if (size == 0) return device;
  std::memcpy(host, bytes.data(), size);
  if (cudaMemcpyAsync(device, host, size, cudaMemcpyHostToDevice, stream) != cudaSuccess) {
    return nullptr;
  }
  return device;
}

}  // namespace retnet
