#include "kernels/cuda/weight.h"

#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "kernels/cuda/cuda_status.h"
#include "kernels/element.h"
#include "kernels/status_macros.h"

namespace retnet {
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
  if (tensors.empty()) return absl::InvalidArgumentError("a weight needs at least one tensor");
  CudaWeight weight;
  weight.type_ = tensors[0].type;
  weight.inputs_ = tensors[0].columns;
  bool mixed = false;
  for (const HostTensor& tensor : tensors) {
    if (tensor.rows <= 0 || tensor.columns <= 0 || tensor.columns != weight.inputs_) {
      return absl::InvalidArgumentError(
          absl::StrCat("a weight of ", weight.inputs_, " columns cannot hold a tensor of ",
                       tensor.rows, " rows and ", tensor.columns, " columns"));
    }
    mixed |= tensor.type != weight.type_;
    weight.outputs_ += tensor.rows;
  }
  if (mixed) weight.type_ = ElementType::kFloat32;

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
    const std::vector<float> widened = mixed ? Widened(tensor) : std::vector<float>();
    const void* from = mixed ? static_cast<const void*>(widened.data()) : tensor.data;
    RETURN_IF_ERROR(CudaStatus(cudaMemcpy2DAsync(to, pitch, from, width, width, tensor.rows,
                                                 cudaMemcpyHostToDevice, stream),
                               "copying a weight to the device"));
    // `widened` ends here, and a caller may unmap its file after the last tensor.
    RETURN_IF_ERROR(CudaStatus(cudaStreamSynchronize(stream), "copying a weight to the device"));
    to += tensor.rows * pitch;
  }
  return weight;
}

}  // namespace retnet
