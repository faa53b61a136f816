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
#include "kernels/operands.h"  // IWYU pragma: export
#include "kernels/sampling.h"
#include "kernels/tensor.h"

namespace retnet {

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
                           std::span<const RetentionSegment> segments,
                           const typename K::Segments& laid_out, MatrixView<float> out,
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
  // Of the rows that the operators below are given from now on, the first so many hold sampled
  // tokens and the others given ones. A backend may compute the two classes differently, each exact
  // in itself; before the first call all rows are sampled.
  {k.SetSampledRows(int32_t{})};
  // Segments as Retention takes them, in every layer of a step; valid until Finish. Those of
  // sampled rows come first.
  { k.LayOut(segments) } -> std::same_as<typename K::Segments>;
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
  {k.Retention(int32_t{}, laid_out, in, rotation, norm, states, out)};
  // y[i] = x[indices[i]].
  {k.Gather(in, indices, out)};
  // answers[i] of logits row i, as kernels/sampling.h says. Rows are at most as wide as the longest
  // weight.
  {k.Answer(in, queries, answers)};

  // --- State bytes: for snapshots, forks and tests. Layout of one base: [layers, heads, key_dim,
  // value_dim] fp32; of one token of a tail: [layers, kv_heads, key_dim] k, then [layers, kv_heads,
  // value_dim] v, of kTailType. ---
  { K::kTailType } -> std::convertible_to<ElementType>;
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
