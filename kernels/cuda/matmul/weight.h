// A weight of a product as the device keeps it: [outputs, inputs], as the checkpoint stores it.
#ifndef RETNET_KERNELS_CUDA_MATMUL_WEIGHT_H_
#define RETNET_KERNELS_CUDA_MATMUL_WEIGHT_H_

#include <cublasLt.h>
#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "absl/status/statusor.h"
#include "kernels/cuda/runtime/device_array.h"
#include "kernels/tensor.h"

namespace retnet::cuda {

// Row-major; each row is followed by zeros up to a multiple of 128 bytes, so that every row begins
// at a line of the memory and no kernel needs a ragged end of k. Made by CudaMatMul::Pack.
class CudaWeight {
 public:
  static constexpr int64_t kRowAlignment = 128;  // bytes

  CudaWeight() = default;

  // Stacks the rows of `tensors`, which have equal columns. Of several element types it keeps fp32,
  // which holds each exactly. Waits for the copies. INVALID_ARGUMENT for no tensor, an empty one or
  // unequal columns; RESOURCE_EXHAUSTED for want of device memory.
  static absl::StatusOr<CudaWeight> Upload(std::span<const HostTensor> tensors,
                                           cudaStream_t stream);

  ElementType type() const { return type_; }
  int64_t outputs() const { return outputs_; }
  int64_t inputs() const { return inputs_; }
  int64_t stride() const { return stride_; }              // elements from row to row
  const std::byte* data() const { return data_.data(); }  // on the device
  int64_t bytes() const { return data_.size(); }

  // How cuBLASLt multiplies any number of rows by this weight; none where it cannot.
  const std::optional<cublasLtMatmulAlgo_t>& algorithm() const { return algorithm_; }
  void set_algorithm(const cublasLtMatmulAlgo_t& algorithm) { algorithm_ = algorithm; }

 private:
  ElementType type_ = ElementType::kFloat32;
  int64_t outputs_ = 0;
  int64_t inputs_ = 0;
  int64_t stride_ = 0;
  DeviceArray<std::byte> data_;
  std::optional<cublasLtMatmulAlgo_t> algorithm_;
};

}  // namespace retnet::cuda

#endif  // RETNET_KERNELS_CUDA_MATMUL_WEIGHT_H_
