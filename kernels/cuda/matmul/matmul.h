// Matrix products with weights on the device, for both classes of rows.
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

// Operators queue work on one stream. They neither allocate nor wait. Rows [0, sampled_rows) are
// sampled rows; they use skinny.h, in launches of at most 64 rows. The rows after them are prompt
// rows; they use cuBLASLt, with the algorithm that Pack chose for the weight. If cuBLASLt does not
// support the shape, prompt rows use the kernel of sampled rows. Both classes round activations to
// the type of the weight (sampled rows with fp16 weights: to tf32, which has as many bits) and
// accumulate in fp32. The kernel of a row depends only on its class and on the shapes and strides
// of the weight and y. Thread-compatible.
class CudaMatMul {
 public:
  // The stream of `queue` must outlive the result. Operators take at most `max_rows` rows. Errors
  // are those of CudaStatus.
  static absl::StatusOr<CudaMatMul> Make(KernelQueue queue, int32_t max_rows);

  // See the concept Kernels. Enlarges the scratch of the operators. May wait for the device.
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

  // The first launch error of any operator. Waiting for the stream reports errors of running
  // kernels.
  const absl::Status& status() const { return status_; }

 private:
  struct DestroyHandle {
    void operator()(cublasLtHandle_t handle) const { cublasLtDestroy(handle); }
  };

  explicit CudaMatMul(KernelQueue queue) : queue_(queue) {}

  absl::Status ChooseAlgorithm(CudaWeight& weight) const;
  // Enlarges the scratch of all operators for this weight. `gated`: NormGatedMatMul may use it.
  absl::Status Reserve(const CudaWeight& weight, bool gated);

  void Sampled(MatrixView<const float> x, const Norm* norm, const CudaWeight& weight,
               SkinnyEpilogue epilogue, Activation activation, MatrixView<float> y);
  // Whether cuBLASLt supports this weight and the alignment of y.
  bool TakesPrompt(const CudaWeight& weight, MatrixView<float> y) const;
  // y = x·weightᵀ + beta·y by cuBLASLt. Requires TakesPrompt(weight, y).
  void Prompt(MatrixView<const float> x, const Norm* norm, const CudaWeight& weight, float beta,
              MatrixView<float> y);
  void KeepFirstError(cudaError_t error);

  // Constant after construction.
  KernelQueue queue_;
  int32_t max_rows_ = 0;
  std::unique_ptr<std::remove_pointer_t<cublasLtHandle_t>, DestroyHandle> handle_;
  DeviceArray<std::byte> workspace_;  // of cuBLASLt

  // Scratch. Pack enlarges it; each operator writes it before it reads it.
  DeviceArray<std::byte> prepared_;  // [max_rows, stride] in the type of the weight
  DeviceArray<float> joined_;        // [max_rows, outputs], gate | up of prompt rows
  DeviceArray<float> sums_;          // [SkinnyScratchFloats]
  DeviceArray<uint32_t> counters_;   // [SkinnyTiles], zero between products

  absl::Status status_;
};

}  // namespace retnet::cuda

#endif  // RETNET_KERNELS_CUDA_MATMUL_MATMUL_H_
