// The arguments of operators: shapes, pieces of sequences, norms. Plain structs with constexpr
// functions. They are separate from the concept Kernels so that device code can include them.
#ifndef RETNET_KERNELS_OPERANDS_H_
#define RETNET_KERNELS_OPERANDS_H_

#include <cstdint>
#include <span>

#include "kernels/tensor.h"

namespace retnet {

// Tokens of a chunk. The position of a base is a multiple of it. Always 64: see docs/design.md.
inline constexpr int32_t kChunk = 64;

// The shape of retention, the same in every layer. One matrix product computes all projections. A
// row of its result is q [heads, key_dim] | k [kv_heads, key_dim] | v [kv_heads, value_dim], then
// | g [heads, value_dim] if gated. Query head h uses kv head h / (heads / kv_heads).
struct RetentionShape {
  int32_t layers = 0;
  int32_t heads = 0;
  int32_t kv_heads = 0;
  int32_t key_dim = 0;
  int32_t value_dim = 0;
  bool gated = true;
  int32_t slots = 0;  // the number of tails, and also of bases
  ElementType base_type = ElementType::kFloat32;

  constexpr int64_t ProjectionColumns() const {
    return int64_t{heads + kv_heads} * key_dim +
           int64_t{kv_heads + (gated ? heads : 0)} * value_dim;
  }
  constexpr int64_t OutputColumns() const { return int64_t{heads} * value_dim; }
};

// A negative number that stands for a token id: the last token that the slot sampled.
constexpr int32_t LastTokenOf(int32_t slot) { return -2 - slot; }
constexpr int32_t SlotOfLastToken(int32_t token) { return -2 - token; }

// In place of a slot: the row's token does not become the last token of any slot.
inline constexpr int32_t kNotKept = -1;

// In place of a base: the base at position 0. It is all zero, has no memory and is never read.
inline constexpr int32_t kZeroBase = -1;

// Consecutive rows of one sequence within one chunk. If `folds`, the slot's tail is full (kChunk
// tokens: the previous chunk) and is folded first: base[base] = fold(base[fold_source], tail).
// After that the tail is empty. Then the k and v of the rows are appended to the slot's tail at
// index `tail`. Each row reads base `base` and the tail up to and including itself.
struct RetentionPiece {
  int32_t slot = 0;
  int32_t first_row = 0;     // in the step's activations
  int32_t rows = 0;          // tail + rows <= kChunk
  int32_t position = 0;      // of the first row; position % kChunk == tail % kChunk
  int32_t tail = 0;          // tokens in the tail before the first row; 0 when folds
  int32_t base = kZeroBase;  // read by the rows; never kZeroBase if folds
  bool folds = false;
  int32_t fold_source = kZeroBase;  // kZeroBase: the fold reads no base
};

// The pieces of one sequence in a step, in ascending order of position.
using RetentionSegment = std::span<const RetentionPiece>;

// RMSNorm of a row of `columns` numbers: x / sqrt(mean(x²) + epsilon) · weight, the mean in fp32
// (Zhang and Sennrich, arXiv 1910.07467). `weight` [columns] is fp32 on the device; nullptr means
// all ones.
struct Norm {
  const float* weight = nullptr;
  float epsilon = 1e-6f;
};

enum class Activation {
  kSilu,  // x·sigmoid(x)
  kGelu,  // x·Φ(x), by erf, without the tanh approximation
};

}  // namespace retnet

#endif  // RETNET_KERNELS_OPERANDS_H_
