// The vocabulary of a backend: operators on one device that know shapes, not models. A backend is a
// plain class that satisfies the concept Kernels; there is no base class. Every operator has one
// order of accumulation, so that a row's result depends neither on the number of rows nor on its
// neighbours.
#ifndef RETNET_KERNELS_KERNELS_H_
#define RETNET_KERNELS_KERNELS_H_

#include <concepts>
#include <cstdint>
#include <span>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "kernels/sampling.h"
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

  int64_t ProjectionColumns() const {
    return int64_t{heads + kv_heads} * key_dim +
           int64_t{kv_heads + (gated ? heads : 0)} * value_dim;
  }
  int64_t OutputColumns() const { return int64_t{heads} * value_dim; }
};

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

// What RetNet asks of a backend. Matrices are on the device; spans are on the host and may be
// reused when the call returns. x is the residual stream [rows, hidden]. One thread calls; calls
// take effect in order. A backend may compute at the call (CPU) or queue (CUDA): Finish returns
// when all is done.
template <typename K>
concept Kernels = requires(K& k, const typename K::Weight& weight, const typename K::Buffer& buffer,
                           typename K::States& states, const typename K::Rotation& rotation,
                           std::span<const HostTensor> tensors, std::span<const float> floats,
                           const RetentionShape& shape, std::span<const TokenId> tokens,
                           std::span<const int32_t> indices,
                           std::span<const RetentionSegment> segments, MatrixView<float> out,
                           MatrixView<const float> in, Norm norm, Activation activation,
                           std::span<const LogitsQuery> queries, std::span<LogitsAnswer> answers,
                           std::span<std::byte> bytes, std::span<const std::byte> const_bytes) {
  // --- Memory; everything is made before the first step, and a step allocates nothing. ---
  // Rows of several matrices with equal columns, stacked into one weight of a product, in the order
  // given.
  { k.Pack(tensors) } -> std::same_as<absl::StatusOr<typename K::Weight>>;
  { weight.bytes() } -> std::same_as<int64_t>;  // that it takes on the device
  // fp32 numbers on the device: `floats` copied, or uninitialised ones (each written before it is
  // read).
  { k.Upload(floats) } -> std::same_as<absl::StatusOr<typename K::Buffer>>;
  { k.Allocate(int64_t{}) } -> std::same_as<absl::StatusOr<typename K::Buffer>>;
  { buffer.data() } -> std::same_as<float*>;
  // Bases and tails of all slots and layers. decay: γ of each head, [heads].
  { k.AllocateStates(shape, floats) } -> std::same_as<absl::StatusOr<typename K::States>>;
  // Angles' cosines and sines for up to a number of rows; θ per pair, [key_dim / 2], in radians a
  // token.
  {
    k.AllocateRotation(int64_t{}, std::span<const double>{})
    } -> std::same_as<absl::StatusOr<typename K::Rotation>>;

  // --- Operators ---
  // x[i] = weight[tokens[i]] · multiplier; weight is [vocabulary, hidden].
  {k.Embed(tokens, weight, float{}, out)};
  // x = RMSNorm(x), in place: the optional norm of embeddings.
  {k.Normalize(norm, out)};
  // angle[i, j] = positions[i] · θ_j, reduced in double; serves every layer of the step.
  {k.Rotate(indices, const_cast<typename K::Rotation&>(rotation))};
  // y = RMSNorm(x) · weightᵀ;  x [rows, inputs], y [rows, outputs].
  {k.NormMatMul(in, norm, weight, out)};
  // x += y · weightᵀ.
  {k.MatMulAdd(in, weight, out)};
  // y = activation(z · gateᵀ) ⊙ (z · upᵀ), z = RMSNorm(x); `weight` is Pack({gate, up}), y [rows,
  // outputs / 2].
  {k.NormGatedMatMul(in, norm, weight, activation, out)};
  // Per head: rotate q (times key_dim^-½) and k, append k and v to the tails, retain, RMSNorm over
  // value_dim, times silu(g) when gated (RETNET.md, "Block"). With t = tokens in the tail before
  // the row:
  //   o = γ^(t+1) q·base + Σ_{j≤t} γ^(t−j) (q·k_j) v_j,  base term, then the sum, j ascending;
  //   fold: base' = γ^C base + Σ_j γ^(C−1−j) k_jᵀ v_j,   C = kChunk.
  // projections [rows, shape.ProjectionColumns()], out [rows, shape.OutputColumns()]. No segment of
  // a call reads or writes a base that another one writes, and no two name one slot.
  {k.Retention(int32_t{}, segments, in, rotation, norm, states, out)};
  // y[i] = x[indices[i]].
  {k.Gather(in, indices, out)};
  // answers[i] of logits row i, as kernels/sampling.h says. Rows are at most as wide as the longest
  // weight.
  {k.Answer(in, queries, answers)};

  // --- State bytes: for snapshots, forks and tests. Layout of one base: [layers, heads, key_dim,
  // value_dim] fp32; of one token of a tail: [layers, kv_heads, key_dim] k, then [layers, kv_heads,
  // value_dim] v, fp32 or the backend's tail type. ---
  { k.BaseBytes(shape) } -> std::same_as<int64_t>;
  { k.TailTokenBytes(shape) } -> std::same_as<int64_t>;
  {k.ReadBase(states, int32_t{}, bytes)};
  {k.WriteBase(const_bytes, int32_t{}, states)};
  {k.ReadTail(states, int32_t{}, int32_t{}, bytes)};         // slot, tokens
  {k.WriteTail(const_bytes, int32_t{}, int32_t{}, states)};  // tokens, slot
  {k.CopyTail(int32_t{}, int32_t{}, int32_t{}, states)};     // from slot, to slot, tokens
  { k.Finish() } -> std::same_as<absl::Status>;
};

}  // namespace retnet

#endif  // RETNET_KERNELS_KERNELS_H_
