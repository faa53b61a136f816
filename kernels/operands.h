// What operators are told about their work: shapes, pieces of sequences, norms. Plain structs with
// constexpr functions, apart from the concept Kernels so that device code can use them.
#ifndef RETNET_KERNELS_OPERANDS_H_
#define RETNET_KERNELS_OPERANDS_H_

#include <cstdint>
#include <span>

#include "kernels/tensor.h"

namespace retnet {

// Consecutive positions of a chunk; a base stands at a multiple of it. Always 64: see
// docs/design.md.
inline constexpr int32_t kChunk = 64;

// The shape of every layer's retention. Projections lie side by side in a row of the fused product:
// q [heads, key_dim] | k [kv_heads, key_dim] | v [kv_heads, value_dim] | g [heads, value_dim] if
// gated. Query head h reads kv head h / (heads / kv_heads).
struct RetentionShape {
  int32_t layers = 0;
  int32_t heads = 0;
  int32_t kv_heads = 0;
  int32_t key_dim = 0;
  int32_t value_dim = 0;
  bool gated = true;
  int32_t slots = 0;  // tails; there are as many bases
  ElementType base_type = ElementType::kFloat32;

  constexpr int64_t ProjectionColumns() const {
    return int64_t{heads + kv_heads} * key_dim +
           int64_t{kv_heads + (gated ? heads : 0)} * value_dim;
  }
  constexpr int64_t OutputColumns() const { return int64_t{heads} * value_dim; }
};

// In place of a token id: the token that a slot sampled last.
constexpr int32_t LastTokenOf(int32_t slot) { return -2 - slot; }
constexpr int32_t SlotOfLastToken(int32_t token) { return -2 - token; }

inline constexpr int32_t kNotKept = -1;  // for a slot: the row's token is no slot's last one

inline constexpr int32_t kZeroBase = -1;  // the base at position 0: all zero, never read

// Consecutive rows of one sequence that lie in one chunk. When `folds`, the slot's full tail
// (kChunk tokens, the chunk before) is first folded: base[base] = fold(base[fold_source], tail),
// after which the tail is empty. Then the rows' k and v are appended to the slot's tail at `tail`,
// and each row reads base `base` and the tail up to itself.
struct RetentionPiece {
  int32_t slot = 0;
  int32_t first_row = 0;     // in the step's activations
  int32_t rows = 0;          // tail + rows <= kChunk
  int32_t position = 0;      // of the first row; position % kChunk == tail % kChunk
  int32_t tail = 0;          // tokens in the tail before the first row; 0 when folds
  int32_t base = kZeroBase;  // read by the rows; kZeroBase only when not folds
  bool folds = false;
  int32_t fold_source = kZeroBase;  // kZeroBase: the fold writes without reading
};

// The pieces of one sequence in a step, in order of position.
using RetentionSegment = std::span<const RetentionPiece>;

// RMSNorm(x)·weight over a row of `columns`: x / sqrt(mean(x²) + epsilon), reduced in fp32.
// `weight` [columns] is fp32 on the device; nullptr means all ones.
struct Norm {
  const float* weight = nullptr;
  float epsilon = 1e-6f;
};

enum class Activation { kSilu, kGelu };  // x·sigmoid(x); x·Φ(x), exact by erf

}  // namespace retnet

#endif  // RETNET_KERNELS_OPERANDS_H_
