#include "kernels/cuda/matmul/weight.h"

#include <utility>
#include <vector>

#include "kernels/cuda/runtime/cuda_status.h"
#include "kernels/element.h"
#include "kernels/stacked_weight.h"
#include "kernels/status_macros.h"

namespace retnet::cuda {
namespace {

std::vector<float> Widened(const HostTensor& tensor) {
  std::vector<float> values(tensor.rows * tensor.columns);
  for (size_t i = 0; i < values.size(); ++i) {
    values[i] = ElementAt(tensor, static_cast<int64_t>(i));
  }
  return values;
}

}  // namespace

absl::StatusOr<CudaWeight> CudaWeight::Upload(std::span<const HostTensor> tensors,
                                              cudaStream_t stream) {
  ASSIGN_OR_RETURN(const StackedShape stack, StackedShapeOf(tensors));
  CudaWeight weight;
  weight.type_ = stack.type;
  weight.outputs_ = stack.rows;
  weight.inputs_ = stack.columns;

  const int64_t element = static_cast<int64_t>(SizeOf(weight.type_));
  const int64_t width = weight.inputs_ * element;
  const int64_t pitch = (width + kRowAlignment - 1) / kRowAlignment * kRowAlignment;
  weight.stride_ = pitch / element;
  ASSIGN_OR_RETURN(weight.data_, DeviceArray<std::byte>::Make(weight.outputs_ * pitch));

  std::byte* to = weight.data_.data();
  if (pitch > width) {
    RETURN_IF_ERROR(CudaStatus(cudaMemsetAsync(to, 0, weight.bytes(), stream), "filling a weight"));
  }
  for (const HostTensor& tensor : tensors) {
    const std::vector<float> widened = stack.mixed ? Widened(tensor) : std::vector<float>();
    const void* from = stack.mixed ? static_cast<const void*>(widened.data()) : tensor.data;
    RETURN_IF_ERROR(CudaStatus(cudaMemcpy2DAsync(to, pitch, from, width, width, tensor.rows,
                                                 cudaMemcpyHostToDevice, stream),
                               "copying a weight to the device"));
    // Wait here: `widened` is destroyed next, and the caller may unmap its file after the last
    // tensor.
    RETURN_IF_ERROR(CudaStatus(cudaStreamSynchronize(stream), "copying a weight to the device"));
    to += tensor.rows * pitch;
  }
  return weight;
}

}  // namespace retnet::cuda
