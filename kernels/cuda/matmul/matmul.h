// The weights' products on the device, for both classes of rows.
#ifndef RETNET_KERNELS_CUDA_MATMUL_MATMUL_H_
#define RETNET_KERNELS_CUDA_MATMUL_MATMUL_H_

#include <cublasLt.h>
#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <type_traits>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "kernels/cuda/matmul/skinny.h"
#include "kernels/cuda/matmul/weight.h"
#include "kernels/cuda/runtime/device_array.h"
#include "kernels/cuda/runtime/kernel_queue.h"
#include "kernels/kernels.h"
#include "kernels/tensor.h"

namespace retnet::cuda {

// Operators queue on one stream and neither allocate nor wait. Rows [0, sampled_rows) are of the
// class sampled: skinny.h, in launches of at most 64 rows. The rows behind them are given:
// cuBLASLt, with the one algorithm that Pack chose for the weight, and the kernel of sampled rows
// where cuBLASLt does not take the shape. Each class rounds activations to the weight's type, or
// fp16's to as many bits, and accumulates in fp32. Which kernel a row gets depends on its class and
// on the shapes and strides of weight and y alone. Thread-compatible.
class CudaMatMul {
 public:
  // The queue's stream outlives this. No operator is given more than `max_rows` rows. Errors as
  // CudaStatus.
  static absl::StatusOr<CudaMatMul> Make(KernelQueue queue, int32_t max_rows);

  // See the concept Kernels. Grows the memory that operators work in; may wait for the device.
  absl::StatusOr<CudaWeight> Pack(std::span<const HostTensor> tensors);

  // y = RMSNorm(x)·weightᵀ;  x [rows, inputs], y [rows, outputs].
  void NormMatMul(MatrixView<const float> x, Norm norm, const CudaWeight& weight,
                  int32_t sampled_rows, MatrixView<float> y);
  // x += y·weightᵀ.
  void MatMulAdd(MatrixView<const float> y, const CudaWeight& weight, int32_t sampled_rows,
                 MatrixView<float> x);
  // y = activation(z·gateᵀ) ⊙ (z·upᵀ), z = RMSNorm(x); `weight` is Pack({gate, up}).
  void NormGatedMatMul(MatrixView<const float> x, Norm norm, const CudaWeight& weight,
                       Activation activation, int32_t sampled_rows, MatrixView<float> y);

  // The first error of any operator. Errors of running kernels show where the stream is waited for.
  const absl::Status& status() const { return status_; }

 private:
  struct DestroyHandle {
    void operator()(cublasLtHandle_t handle) const { cublasLtDestroy(handle); }
  };

  explicit CudaMatMul(KernelQueue queue) : queue_(queue) {}

  absl::Status ChooseAlgorithm(CudaWeight& weight) const;
  // Makes the scratch of all operators large enough for this weight.
  absl::Status Reserve(const CudaWeight& weight, bool gated);

  void Sampled(MatrixView<const float> x, const Norm* norm, const CudaWeight& weight,
               SkinnyEpilogue epilogue, Activation activation, MatrixView<float> y);
  // y = x·weightᵀ + beta·y by cuBLASLt; whether it takes `y` is asked before.
  bool TakesPrompt(const CudaWeight& weight, MatrixView<float> y) const;
  void Prompt(MatrixView<const float> x, const Norm* norm, const CudaWeight& weight, float beta,
              MatrixView<float> y);
  void KeepFirstError(cudaError_t error);

  // Constant after construction.
  KernelQueue queue_;
  int32_t max_rows_ = 0;
  std::unique_ptr<std::remove_pointer_t<cublasLtHandle_t>, DestroyHandle> handle_;
  DeviceArray<std::byte> workspace_;  // of cuBLASLt

  // Grown by Pack; written before they are read, in each product.
  DeviceArray<std::byte> prepared_;  // [max_rows, stride] in the weight's type
  DeviceArray<float> joined_;        // [max_rows, outputs], gate | up of given rows
  DeviceArray<float> sums_;          // SkinnyScratchFloats
  DeviceArray<uint32_t> counters_;   // SkinnyTiles, zero between products

  absl::Status status_;
};

}  // namespace retnet::cuda

#endif  // RETNET_KERNELS_CUDA_MATMUL_MATMUL_H_
