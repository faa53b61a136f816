// A weight [outputs, inputs] of matrix products in device memory.
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

// Row-major, in the type of the checkpoint. Each row is padded with zeros to a multiple of 128
// bytes. So every row begins at a memory line, and no kernel has to handle an incomplete end of k.
// Owns its memory; movable. CudaMatMul::Pack makes it.
class CudaWeight {
 public:
  static constexpr int64_t kRowAlignment = 128;  // bytes

  CudaWeight() = default;

  // Stacks the rows of `tensors`. Tensors of different element types are stored as fp32, which
  // holds every type exactly. Waits for the copies. INVALID_ARGUMENT for no tensor, an empty
  // tensor, or unequal numbers of columns. RESOURCE_EXHAUSTED if the device memory does not
  // suffice.
  static absl::StatusOr<CudaWeight> Upload(std::span<const HostTensor> tensors,
                                           cudaStream_t stream);

  ElementType type() const { return type_; }
  int64_t outputs() const { return outputs_; }
  int64_t inputs() const { return inputs_; }
  int64_t stride() const { return stride_; }              // elements from row to row
  const std::byte* data() const { return data_.data(); }  // on the device
  int64_t bytes() const { return data_.size(); }

  // The algorithm of cuBLASLt for any number of rows; nullopt if cuBLASLt does not support the
  // weight.
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
