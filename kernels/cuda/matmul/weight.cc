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

// Copies rows of `width` bytes, which are interleaved in blocks of `block` rows or, with 0, in
// order, to rows `pitch` bytes apart on the device.
cudaError_t CopyRows(const void* from, int64_t rows, int64_t width, int64_t block, std::byte* to,
                     int64_t pitch, cudaStream_t stream) {
  if (block == 0) {
    return cudaMemcpy2DAsync(to, pitch, from, width, width, rows, cudaMemcpyHostToDevice, stream);
  }
  const auto* bytes = static_cast<const std::byte*>(from);
  for (int64_t half = 0; half < 2 * (rows / block); ++half) {
    const std::byte* first = bytes + (half / 2 * block + half % 2) * width;
    const cudaError_t error =
        cudaMemcpy2DAsync(to + half * (block / 2) * pitch, pitch, first, 2 * width, width,
                          block / 2, cudaMemcpyHostToDevice, stream);
    if (error != cudaSuccess) return error;
  }
  return cudaSuccess;
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
    const int64_t block = stack.mixed ? 0 : tensor.interleaved_rows;  // Widened has ordered them
    RETURN_IF_ERROR(CudaStatus(CopyRows(from, tensor.rows, width, block, to, pitch, stream),
                               "copying a weight to the device"));
    // Wait here: `widened` is destroyed next, and the caller may unmap its file after the last
    // tensor.
    RETURN_IF_ERROR(CudaStatus(cudaStreamSynchronize(stream), "copying a weight to the device"));
    to += tensor.rows * pitch;
  }
  return weight;
}

}  // namespace retnet::cuda
