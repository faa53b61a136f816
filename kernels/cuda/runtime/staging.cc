#include "kernels/cuda/runtime/staging.h"

#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "kernels/cuda/runtime/cuda_status.h"
#include "kernels/status_macros.h"

namespace retnet::cuda {

absl::StatusOr<PinnedBytes> PinnedBytes::Make(int64_t size) {
  void* memory = nullptr;
  const cudaError_t error = cudaMallocHost(&memory, size);
  if (error != cudaSuccess) {
    cudaGetLastError();  // clears the error, so that later calls do not return it
    return CudaStatus(error, absl::StrCat("allocating ", size, " bytes of pinned memory"));
  }
  PinnedBytes bytes;
  bytes.data_.reset(static_cast<std::byte*>(memory));
  return bytes;
}

absl::StatusOr<Staging> Staging::Make(int64_t bytes) {
  Staging staging;
  staging.size_ = Space(bytes);
  for (PinnedBytes& host : staging.host_) {
    ASSIGN_OR_RETURN(host, PinnedBytes::Make(staging.size_));
  }
  ASSIGN_OR_RETURN(staging.device_, DeviceArray<std::byte>::Make(staging.size_));
  return staging;
}

const void* Staging::PutBytes(std::span<const std::byte> bytes) {
  const auto size = static_cast<int64_t>(bytes.size());
  if (!HasRoomFor(size)) return nullptr;
  if (size > 0) std::memcpy(host_[set_].data() + used_, bytes.data(), size);
  const std::byte* address = device_.data() + used_;
  used_ += Space(size);
  return address;
}

cudaError_t Staging::Flush(cudaStream_t stream) {
  if (used_ == flushed_) return cudaSuccess;
  const int64_t first = std::exchange(flushed_, used_);
  return cudaMemcpyAsync(device_.data() + first, host_[set_].data() + first, used_ - first,
                         cudaMemcpyHostToDevice, stream);
}

}  // namespace retnet::cuda
