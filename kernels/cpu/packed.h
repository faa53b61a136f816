// The memory layout of the operands of matrix products: weights in strips, packed once at load, and
// activations in blocks of k, prepared for each product.
#ifndef RETNET_KERNELS_CPU_PACKED_H_
#define RETNET_KERNELS_CPU_PACKED_H_

#include <cstddef>
#include <cstdint>
#include <span>

#include "absl/status/statusor.h"
#include "kernels/ceil_divide.h"
#include "kernels/cpu/aligned_array.h"
#include "kernels/cpu/strips.h"
#include "kernels/cpu/thread_pool.h"
#include "kernels/tensor.h"

namespace retnet::cpu {

// A product processes k in blocks of this many factors (fp32 numbers, or pairs of bf16). A block is
// long compared with the cost of adding its sums to C. It is short enough that its part of two
// strips and of a few hundred rows of activations stays in the second-level cache.
inline constexpr int64_t kBlockDepth = 512;
// Distance between the rows of a block, in factors. It is an odd number of cache lines, so that the
// rows do not map to the same cache set.
inline constexpr int64_t kBlockStride = kBlockDepth + 16;
// Strips that are multiplied with one block of activations before the next block.
inline constexpr int64_t kGroupStrips = 16;

// The weight W [outputs, inputs] of y = x·Wᵀ, in strips of 16 outputs, padded with zeros.
//   fp32, fp16  [strips, inputs, 16]
//   bf16        [strips, ceil(inputs / 2), 16, 2]: pairs along k, the operand format of VDPBF16PS
class PackedWeight {
 public:
  PackedWeight() = default;

  // Stacks the rows of `tensors`. Tensors of different element types are stored as fp32, which
  // holds every type exactly. INVALID_ARGUMENT for no tensor, an empty tensor, or unequal numbers
  // of columns. RESOURCE_EXHAUSTED if the memory cannot be allocated.
  static absl::StatusOr<PackedWeight> Pack(std::span<const HostTensor> tensors, ThreadPool& pool);

  ElementType type() const { return type_; }
  int64_t outputs() const { return outputs_; }
  int64_t inputs() const { return inputs_; }
  int64_t bytes() const { return int64_t{words_.size()} * int64_t{sizeof(uint32_t)}; }

  // Element is float, uint16_t (fp16), or uint32_t (a pair of bf16, the lower k in the lower half).
  template <typename Element>
  Strips<const Element> strips() const {
    return {reinterpret_cast<const Element*>(words_.data()), kStripColumns,
            strip_words_ * int64_t{sizeof(uint32_t)} / int64_t{sizeof(Element)}};
  }

  // Writes row `output` of W, times `multiplier`, as fp32 to `row` [inputs].
  void ReadRow(int64_t output, float multiplier, float* row) const;

 private:
  ElementType type_ = ElementType::kFloat32;
  int64_t outputs_ = 0;
  int64_t inputs_ = 0;
  int64_t strip_words_ = 0;       // 4-byte words of one strip
  AlignedArray<uint32_t> words_;  // [strips, strip_words_]
};

// A view of activations prepared for a product: [blocks, rows, kBlockStride] factors of 4 bytes
// each, fp32 or pairs of bf16. Only the first kBlockDepth factors of a row are used.
class PackedActivations {
 public:
  // `depth` is the number of factors of a row.
  PackedActivations(uint32_t* words, int64_t rows, int64_t depth)
      : words_(words), block_words_(rows * kBlockStride), depth_(depth) {}

  static int64_t Words(int64_t rows, int64_t depth) {
    return CeilDivide(depth, kBlockDepth) * rows * kBlockStride;
  }

  int64_t depth() const { return depth_; }
  // Row 0 of block `block`.
  template <typename Factor>
  Factor* block(int64_t block) const {
    return reinterpret_cast<Factor*>(words_ + block * block_words_);
  }
  // The rows after the first `rows`.
  PackedActivations From(int64_t rows) const {
    PackedActivations rest = *this;
    rest.words_ += rows * kBlockStride;
    return rest;
  }

 private:
  uint32_t* words_;
  int64_t block_words_;
  int64_t depth_;
};

}  // namespace retnet::cpu

#endif  // RETNET_KERNELS_CPU_PACKED_H_
