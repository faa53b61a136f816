// Several matrices of a checkpoint stacked into one weight of a matrix product.
#ifndef RETNET_KERNELS_STACKED_WEIGHT_H_
#define RETNET_KERNELS_STACKED_WEIGHT_H_

#include <cstdint>
#include <span>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "kernels/tensor.h"

namespace retnet {

// The shape of the stack: all rows of the first matrix, then all rows of the next, and so on.
struct StackedShape {
  ElementType type = ElementType::kFloat32;  // fp32 if mixed: it holds every type exactly
  bool mixed = false;                        // the matrices have different element types
  int64_t rows = 0;
  int64_t columns = 0;
};

// INVALID_ARGUMENT for no tensor, an empty tensor, or unequal numbers of columns.
inline absl::StatusOr<StackedShape> StackedShapeOf(std::span<const HostTensor> tensors) {
  if (tensors.empty()) return absl::InvalidArgumentError("a weight needs at least one tensor");
  StackedShape stack{.type = tensors[0].type, .columns = tensors[0].columns};
  for (const HostTensor& tensor : tensors) {
    if (tensor.rows <= 0 || tensor.columns <= 0 || tensor.columns != stack.columns) {
      return absl::InvalidArgumentError(
          absl::StrCat("a weight of ", stack.columns, " columns cannot hold a tensor of ",
                       tensor.rows, " rows and ", tensor.columns, " columns"));
    }
    stack.mixed |= tensor.type != tensors[0].type;
    stack.rows += tensor.rows;
  }
  if (stack.mixed) stack.type = ElementType::kFloat32;
  return stack;
}

}  // namespace retnet

#endif  // RETNET_KERNELS_STACKED_WEIGHT_H_
