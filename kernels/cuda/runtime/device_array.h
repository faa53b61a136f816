// An array of numbers in device memory.
#ifndef RETNET_KERNELS_CUDA_RUNTIME_DEVICE_ARRAY_H_
#define RETNET_KERNELS_CUDA_RUNTIME_DEVICE_ARRAY_H_

#include <cuda_runtime.h>

#include <cstdint>
#include <limits>
#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "kernels/cuda/runtime/cuda_status.h"

namespace retnet::cuda {

// Owns its memory. Movable, not copyable. data() is a device pointer, aligned to 256 bytes.
// Allocating and freeing synchronise with the device, so a step must do neither.
template <typename T>
class DeviceArray {
 public:
  DeviceArray() = default;

  // `size` is in elements, which are uninitialised. RESOURCE_EXHAUSTED if memory cannot be
  // allocated.
  static absl::StatusOr<DeviceArray> Make(int64_t size) {
    if (size < 0 || size > std::numeric_limits<int64_t>::max() / int64_t{sizeof(T)}) {
      return absl::ResourceExhaustedError(
          absl::StrCat("cannot allocate ", size, " numbers of ", sizeof(T), " bytes"));
    }
    DeviceArray array;
    array.size_ = size;
    if (size == 0) return array;
    void* memory = nullptr;
    const cudaError_t error = cudaMalloc(&memory, size * sizeof(T));
    if (error != cudaSuccess) {
      cudaGetLastError();  // clears the error, so that later calls do not return it
      return CudaStatus(
          error, absl::StrCat("allocating ", size * int64_t{sizeof(T)}, " bytes on the device"));
    }
    array.data_.reset(static_cast<T*>(memory));
    return array;
  }

  T* data() const { return data_.get(); }
  int64_t size() const { return size_; }

 private:
  struct Free {
    void operator()(T* memory) const { cudaFree(memory); }
  };

  std::unique_ptr<T, Free> data_;
  int64_t size_ = 0;
};

}  // namespace retnet::cuda

#endif  // RETNET_KERNELS_CUDA_RUNTIME_DEVICE_ARRAY_H_
