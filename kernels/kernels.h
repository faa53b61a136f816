// The vocabulary of a backend: operators on one device that know shapes, not models. A backend is a
// plain class that satisfies the concept Kernels; there is no base class. Every operator has one
// order of accumulation, so that a row's result depends neither on the number of rows nor on its
// neighbours.
#ifndef RETNET_KERNELS_KERNELS_H_
#define RETNET_KERNELS_KERNELS_H_

#include <concepts>
#include <cstdint>
#include <functional>
#include <span>
#include <utility>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "kernels/operands.h"  // IWYU pragma: export
#include "kernels/sampling.h"
#include "kernels/tensor.h"

namespace retnet {

// Steps that a backend may have ended and not waited for.
inline constexpr int32_t kStepsInFlight = 2;

// What RetNet asks of a backend. Matrices are on the device; spans are on the host and may be
// reused when the call returns. x is the residual stream [rows, hidden]. One thread calls; calls
// take effect in order. A backend may compute at the call (CPU) or queue (CUDA): WaitStep returns
// when the oldest step is done, Finish when everything is.
template <typename K>
concept Kernels = requires(K& k, const typename K::Weight& weight, const typename K::Buffer& buffer,
                           typename K::States& states, const typename K::Rotation& rotation,
                           typename K::LastTokens& last_tokens, std::span<const HostTensor> tensors,
                           std::span<const float> floats, const RetentionShape& shape,
                           std::span<const TokenId> tokens, std::span<const int32_t> indices,
                           std::span<const RetentionSegment> segments,
                           const typename K::Segments& laid_out, MatrixView<float> out,
                           MatrixView<const float> in, Norm norm, Activation activation,
                           std::span<const LogitsQuery> queries, std::span<LogitsAnswer> answers,
                           std::span<std::byte> bytes, std::span<const std::byte> const_bytes,
                           absl::FunctionRef<void()> operators,
                           std::function<void(const absl::Status&)> done) {
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
  // Bases and tails of all slots and layers. decay: γ of each head, [heads]. INVALID_ARGUMENT for a
  // base_type that the backend does not have; every one has fp32.
  { k.AllocateStates(shape, floats) } -> std::same_as<absl::StatusOr<typename K::States>>;
  // The token that each of so many slots sampled last.
  { k.AllocateLastTokens(int32_t{}) } -> std::same_as<absl::StatusOr<typename K::LastTokens>>;
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
  // Segments as Retention takes them, in every layer of a step; valid until the step ends. Those of
  // sampled rows come first. A segment without pieces stands for a row that is padding.
  { k.LayOut(segments) } -> std::same_as<typename K::Segments>;
  // x[i] = weight[tokens[i]] · multiplier; weight is [vocabulary, hidden]. A token may be
  // LastTokenOf a slot that has sampled one.
  {k.Embed(tokens, last_tokens, weight, float{}, out)};
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
  // value_dim, times silu(g) when gated (docs/retnet.md). With t = tokens in the tail before
  // the row:
  //   o = γ^(t+1) q·base + Σ_{j≤t} γ^(t−j) (q·k_j) v_j,  base term, then the sum, j ascending;
  //   fold: base' = γ^C base + Σ_j γ^(C−1−j) k_jᵀ v_j,   C = kChunk,
  // in fp32 at least; the result of a fold is rounded to shape.base_type, to the nearest, ties to
  // even (fp16: within ±65504), and nothing else is.
  // projections [rows, shape.ProjectionColumns()], out [rows, shape.OutputColumns()]. No segment of
  // a call reads or writes a base that another one writes, and no two name one slot.
  {k.Retention(int32_t{}, laid_out, in, rotation, norm, states, out)};
  // y[i] = x[indices[i]].
  {k.Gather(in, indices, out)};
  // answers[i] of logits row i, as kernels/sampling.h says; its token becomes the last one of slot
  // indices[i], unless that is kNotKept; no two rows name one slot. Rows are at most as wide as the
  // longest weight. `answers` are written by the time that the step is waited for.
  {k.Answer(in, queries, indices, last_tokens, answers)};

  // --- Steps ---
  // Whether operators are queued and run beside the host, not at the call.
  { K::kQueues } -> std::convertible_to<bool>;
  // Whether steps whose operators differ in nothing but what the spans hold gain by Replay.
  { k.Replays() } -> std::same_as<bool>;
  // Makes ready to replay what `operators` calls for a step of so many rows; computes nothing. May
  // call them more than once.
  { k.Record(int32_t{}, operators) } -> std::same_as<absl::Status>;
  // Does what `operators` calls: as it is recorded for so many rows, if it is.
  {k.Replay(int32_t{}, operators)};
  // What was called since the last EndStep is a step; kStepsInFlight may be there. WaitStep waits
  // for the oldest; an error is final.
  {k.EndStep()};
  { k.WaitStep() } -> std::same_as<absl::Status>;
  {k.CopyLastToken(int32_t{}, int32_t{}, last_tokens)};  // from slot, to slot

  // --- State bytes: for snapshots, forks and tests. Layout of one base: [layers, heads, key_dim,
  // value_dim] of shape.base_type; of one token of a tail: [layers, kv_heads, key_dim] k, then
  // [layers, kv_heads, value_dim] v, of kTailType. Reads and writes see what was called before;
  // what they touch, and their bytes, are not to be touched until AfterTransfers or Finish says
  // that they are over. ---
  { K::kTailType } -> std::convertible_to<ElementType>;
  { k.BaseBytes(shape) } -> std::same_as<int64_t>;
  { k.TailTokenBytes(shape) } -> std::same_as<int64_t>;
  {k.ReadBase(states, int32_t{}, bytes)};
  {k.WriteBase(const_bytes, int32_t{}, states)};
  {k.ReadTail(states, int32_t{}, int32_t{}, bytes)};         // slot, tokens
  {k.WriteTail(const_bytes, int32_t{}, int32_t{}, states)};  // tokens, slot
  {k.CopyTail(int32_t{}, int32_t{}, int32_t{}, states)};     // from slot, to slot, tokens
  // Calls `done` once, from any thread, when all reads and writes so far are over, with their
  // error.
  {k.AfterTransfers(std::move(done))};
  { k.Finish() } -> std::same_as<absl::Status>;
};

}  // namespace retnet

#endif  // RETNET_KERNELS_KERNELS_H_
