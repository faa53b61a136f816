// Finds numbers that are not finite in the bytes of weights and states.
#ifndef RETNET_KERNELS_FINITE_H_
#define RETNET_KERNELS_FINITE_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "kernels/tensor.h"

namespace retnet {

// The index of the first element that is NaN or infinite, or nullopt if all are finite. `data`
// holds whole elements at any alignment. Faster than memory.
std::optional<int64_t> FindNotFinite(std::span<const std::byte> data, ElementType type);

}  // namespace retnet

#endif  // RETNET_KERNELS_FINITE_H_
