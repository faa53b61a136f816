// The interface of a backend: operators on one device, which know shapes but no model. A backend is
// a plain class that satisfies the concept Kernels. There is no base class. Every operator fixes
// its order of accumulation. So the result of a row does not depend on the number of rows in the
// call or on their contents.
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

// Steps that may be in flight: ended by EndStep and not yet waited for by WaitStep.
inline constexpr int32_t kStepsInFlight = 2;

// What RetNet needs from a backend.
//
// Matrices (MatrixView) are on the device. Spans are on the host; unless stated otherwise, the
// caller may reuse them when the call returns. x is the residual stream, [rows, hidden]. All calls
// come from one thread and take effect in order. A backend either computes during the call (CPU) or
// queues the work (CUDA). WaitStep returns when the oldest step is done, Finish when all work is.
template <typename K>
concept Kernels = requires(K& k, const typename K::Weight& weight, const typename K::Buffer& buffer,
                           typename K::States& states, const typename K::PositionTables& tables,
                           typename K::LastTokens& last_tokens, std::span<const HostTensor> tensors,
                           std::span<const float> floats, const RetentionShape& shape,
                           std::span<const TokenId> tokens, std::span<const int32_t> indices,
                           std::span<const RetentionSegment> segments,
                           const typename K::RetentionPlan& plan, MatrixView<float> out,
                           MatrixView<const float> in, Norm norm, Activation activation,
                           std::span<const SampleRequest> requests, std::span<SampleResult> results,
                           std::span<std::byte> bytes, std::span<const std::byte> const_bytes,
                           absl::FunctionRef<void()> operators,
                           std::function<void(const absl::Status&)> done) {
  // --- Memory. All of it is allocated before the first step; a step allocates nothing. ---
  // Stacks the rows of several matrices, in order, into one weight [outputs, inputs] of matrix
  // products. The matrices must have equal numbers of columns.
  { k.Pack(tensors) } -> std::same_as<absl::StatusOr<typename K::Weight>>;
  { weight.bytes() } -> std::same_as<int64_t>;  // device memory of the weight
  // fp32 numbers on the device. Upload copies `floats`. Allocate leaves the numbers uninitialised;
  // each must be written before it is read.
  { k.Upload(floats) } -> std::same_as<absl::StatusOr<typename K::Buffer>>;
  { k.Allocate(int64_t{}) } -> std::same_as<absl::StatusOr<typename K::Buffer>>;
  { buffer.data() } -> std::same_as<float*>;
  // Bases and tails of all slots and layers. The floats are the decay γ of each head, [heads].
  // INVALID_ARGUMENT for a base_type that the backend does not support. Every backend supports
  // fp32.
  { k.AllocateStates(shape, floats) } -> std::same_as<absl::StatusOr<typename K::States>>;
  // The last sampled token of each slot. The argument is the number of slots.
  { k.AllocateLastTokens(int32_t{}) } -> std::same_as<absl::StatusOr<typename K::LastTokens>>;
  // What Retention needs of a row that follows from its position alone, for up to the given number
  // of rows. The doubles are θ of each pair, [key_dim / 2], in radians per token. The floats are γ
  // of each head, [heads], if retention is normalized, else empty.
  {
    k.AllocatePositionTables(int64_t{}, std::span<const double>{}, floats)
    } -> std::same_as<absl::StatusOr<typename K::PositionTables>>;

  // --- Operators ---
  // Sets the class of rows for the operators below, until the next call: the first n rows hold
  // sampled tokens, the others prompt tokens. Before the first call, all rows are sampled. A
  // backend may compute the two classes with different arithmetic. Within a class, the bits of a
  // row never depend on other rows.
  {k.SetSampledRows(int32_t{})};
  // Prepares segments for the calls of Retention in all layers of a step. The plan is valid until
  // the step ends. Segments of sampled rows come first. A segment without pieces stands for one row
  // of padding.
  { k.PlanRetention(segments) } -> std::same_as<typename K::RetentionPlan>;
  // x[i] = weight[tokens[i]] · multiplier; weight is [vocabulary, hidden]. A token may be
  // LastTokenOf(slot) if that slot has sampled a token.
  {k.Embed(tokens, last_tokens, weight, float{}, out)};
  // x = RMSNorm(x), in place. Used for the optional norm of embeddings.
  {k.Normalize(norm, out)};
  // All layers of the step use the result. For row i at position n = positions[i], computed in
  // double: cosine and sine of the angles n · θ_j, and, if retention is normalized, the decay sum
  // Σ_{j≤n} γ^j = (1 − γ^(n+1)) / (1 − γ) of each head.
  {k.FillPositionTables(indices, const_cast<typename K::PositionTables&>(tables))};
  // y = RMSNorm(x) · weightᵀ;  x [rows, inputs], y [rows, outputs].
  {k.NormMatMul(in, norm, weight, out)};
  // x += y · weightᵀ.
  {k.MatMulAdd(in, weight, out)};
  // y = activation(z · gateᵀ) ⊙ (z · upᵀ), z = RMSNorm(x); `weight` is Pack({gate, up}), y [rows,
  // outputs / 2].
  {k.NormGatedMatMul(in, norm, weight, activation, out)};
  // Retention of one layer, in chunks (Sun et al., arXiv 2307.08621; docs/retnet.md). For each
  // head: rotates q and k and scales q by key_dim^−½, appends k and v to the tail, computes o,
  // applies RMSNorm over value_dim, and multiplies by silu(g) if the shape is gated. If retention is
  // normalized, the norm's ε is multiplied by the decay sum of row and head: this is RMSNorm of o
  // divided by sqrt(Σ_{j≤n} γ^j), which is torchscale's o. Let t be the number of tokens in the tail
  // before the row:
  //   o = γ^(t+1) q·base + Σ_{j≤t} γ^(t−j) (q·k_j) v_j    the base term first, then j ascending
  //   fold: base' = γ^C base + Σ_j γ^(C−1−j) k_jᵀ v_j     C = kChunk
  // The arithmetic is at least fp32. The result of a fold is rounded to shape.base_type, to the
  // nearest, ties to even (fp16: clamped to ±65504). Nothing else is rounded to that type.
  // projections is [rows, shape.ProjectionColumns()], out is [rows, shape.OutputColumns()].
  // Within a call, no segment reads or writes a base that another segment writes, and no two
  // segments name the same slot. The caller splits a step into fold phases where needed
  // (models/slot_states.h).
  {k.Retention(int32_t{}, plan, in, tables, norm, states, out)};
  // y[i] = x[indices[i]].
  {k.Gather(in, indices, out)};
  // results[i] = what requests[i] asks of logits row i (kernels/sampling.h). The token of row i
  // becomes the last token of slot indices[i], unless that is kNotKept; 0 where there is none. No
  // two rows name the same slot. Rows have at most as many columns as the largest weight has
  // outputs. `results` must stay valid until the step has been waited for; only then are they
  // complete.
  {k.Sample(in, requests, indices, last_tokens, results)};

  // --- Steps ---
  // Whether operators are queued and run concurrently with the host, rather than during the call.
  { K::kQueues } -> std::convertible_to<bool>;
  // Whether Replay is faster for steps that call the same operators and differ only in the contents
  // of the spans.
  { k.Replays() } -> std::same_as<bool>;
  // Records the operators that `operators` calls, for later replays with the same number of rows.
  // Computes nothing. May call `operators` more than once.
  { k.Record(int32_t{}, operators) } -> std::same_as<absl::Status>;
  // Runs the operators that `operators` calls. Uses the recording for this number of rows if there
  // is one.
  {k.Replay(int32_t{}, operators)};
  // EndStep ends a step: all calls since the last EndStep. At most kStepsInFlight steps may be in
  // flight. WaitStep waits for the oldest one. After an error the backend is unusable.
  {k.EndStep()};
  { k.WaitStep() } -> std::same_as<absl::Status>;
  {k.CopyLastToken(int32_t{}, int32_t{}, last_tokens)};  // from slot, to slot

  // --- State bytes, for snapshots, forks and tests. ---
  // The bytes of one base are [layers, heads, key_dim, value_dim] of shape.base_type. The bytes of
  // one token of a tail are [layers, kv_heads, key_dim] k, then [layers, kv_heads, value_dim] v, of
  // kTailType. Reads and writes take effect after all earlier calls. Until AfterTransfers or Finish
  // reports that they are over, nothing may touch their base or tail, or their bytes.
  { K::kTailType } -> std::convertible_to<ElementType>;
  { k.BaseBytes(shape) } -> std::same_as<int64_t>;
  { k.TailTokenBytes(shape) } -> std::same_as<int64_t>;
  {k.ReadBase(states, int32_t{}, bytes)};
  {k.WriteBase(const_bytes, int32_t{}, states)};
  {k.ReadTail(states, int32_t{}, int32_t{}, bytes)};         // slot, tokens
  {k.WriteTail(const_bytes, int32_t{}, int32_t{}, states)};  // tokens, slot
  {k.CopyTail(int32_t{}, int32_t{}, int32_t{}, states)};     // from slot, to slot, tokens
  // Calls `done` once, from any thread, when all earlier reads and writes are over. The status is
  // their first error since the last AfterTransfers.
  {k.AfterTransfers(std::move(done))};
  { k.Finish() } -> std::same_as<absl::Status>;
};

}  // namespace retnet

#endif  // RETNET_KERNELS_KERNELS_H_
