// All that the engine sees of a model: slots, steps of token rows, and answers. Coarse (one call a
// step) and virtual, so that the backend is a run-time choice and tests can put a fake here.
#ifndef RETNET_MODELS_MODEL_H_
#define RETNET_MODELS_MODEL_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "kernels/sampling.h"
#include "kernels/tensor.h"

namespace retnet {

// The place of one state on the device, 0 … slots − 1.
using SlotId = int32_t;

// As a segment's only token: the one that this slot sampled last, which the host may not know yet.
inline constexpr TokenId kLastSampled = -2;

// Given tokens (prompts) and sampled ones (decode, drafts) may be computed by different products,
// each exact in itself; a segment is of one class.
enum class RowClass { kPrompt, kSampled };

// What is wanted of one row. Rows without an output cost no logits.
struct RowOutput {
  int32_t row = 0;  // within its segment; ascending
  SampleRequest query;
};

// The next tokens of one sequence. `position` is that of the first, and must equal the tokens that
// the slot's state has seen.
struct Segment {
  SlotId slot = 0;
  int32_t position = 0;
  RowClass row_class = RowClass::kPrompt;
  std::span<const TokenId> tokens;
  std::span<const RowOutput> outputs;
};

// Answers of a step: for each segment in order, for each of its outputs in order.
struct StepResult {
  std::vector<SampleResult> results;
};

// Names a running read or write of a state.
using Ticket = uint64_t;
// Called once per ticket, from any thread, possibly before StartRead or StartWrite returns. It must
// not call the model.
using TransferDone = std::function<void(Ticket, absl::Status)>;

struct ModelInfo {
  std::string name;  // the folder's name
  int32_t vocab_size = 0;
  int32_t slots = 0;     // at least 1, as max_rows
  int32_t max_rows = 0;  // tokens a step may hold
  int32_t chunk = 1;     // a piece of a prompt that ends at a multiple of it costs least
  // 2 where Launch returns before the step is computed, so that launching the next one before this
  // one is waited for keeps the device busy; else 1. Launch takes a second one either way.
  int32_t steps_in_flight = 1;
  int64_t parameters = 0;
  int64_t weight_bytes = 0;                       // on the device
  int64_t base_bytes = 0;                         // one base
  int64_t tail_token_bytes = 0;                   // one token of a tail
  ElementType base_type = ElementType::kFloat32;  // of the numbers of a base
  ElementType tail_type = ElementType::kFloat32;  // and of a tail
  uint64_t fingerprint = 0;  // of config and weights: equal for models that compute the same
  bool states_in_host_memory = false;  // slots take the memory that the host's programs share
  std::string backend;                 // for people: "cpu (avx512-bf16, 2 threads)"
  std::string device_note;  // why it is not a better device; empty where it was asked for
  TokenId bos = kNoToken;   // kNoToken where the checkpoint names none
  std::vector<TokenId> eos;
};

// Thread-compatible: one thread drives a model. Calls take effect in call order, steps in flight
// included. Until its ticket is done no call may name the slot of a transfer.
class Model {
 public:
  virtual ~Model() = default;

  virtual const ModelInfo& info() const = 0;

  // Starts one step over all segments: 1 to info().max_rows rows, no slot twice, those of sampled
  // tokens before those of given ones. The spans may be reused when the call returns. At most two
  // steps may be in flight. INVALID_ARGUMENT (and no effect) for a segment that breaks a rule above
  // or a token outside the vocabulary.
  virtual absl::Status Launch(std::span<const Segment> segments) = 0;
  // Waits for the oldest step in flight. An error leaves the model unusable. `result` is
  // overwritten; reuse it from step to step.
  virtual absl::Status Wait(StepResult* result) = 0;

  // Makes `to`, which must be clear, a copy of the first `position` tokens of `from`. The base is
  // shared until either of them folds; the tail is copied. OUT_OF_RANGE outside
  // [base position, tokens seen].
  virtual absl::Status Fork(SlotId from, SlotId to, int32_t position) = 0;
  absl::Status Fork(SlotId from, SlotId to) { return Fork(from, to, state(from).position); }
  // Forgets the newest tokens: the state has then seen `position` tokens. OUT_OF_RANGE outside
  // [base position, tokens seen].
  virtual absl::Status Truncate(SlotId slot, int32_t position) = 0;
  // Makes the slot's state that of no tokens and gives its base back.
  virtual absl::Status Clear(SlotId slot) = 0;

  // A state as bytes: base then tail, in the device's own types; restores the same bits.
  struct StateShape {
    int32_t base_position = 0;  // a multiple of the chunk; 0: no base in the bytes
    int32_t position = 0;       // tokens seen
  };
  virtual StateShape state(SlotId slot) const = 0;
  int64_t StateBytes(StateShape shape) const {
    return (shape.base_position > 0 ? info().base_bytes : 0) +
           int64_t{shape.position - shape.base_position} * info().tail_token_bytes;
  }
  // What transfers report to, set before the first one; without it they report to nobody. It may be
  // called until the model is destroyed.
  void set_transfer_done(TransferDone done) { transfer_done_ = std::move(done); }
  // `bytes` holds StateBytes(state(slot)) and lives until the ticket is done.
  virtual absl::StatusOr<Ticket> StartRead(SlotId slot, std::span<std::byte> bytes) = 0;
  // The slot must be clear. `bytes` as StartRead gave them for `shape`.
  virtual absl::StatusOr<Ticket> StartWrite(std::span<const std::byte> bytes, StateShape shape,
                                            SlotId slot) = 0;

 protected:
  TransferDone transfer_done_;
};

}  // namespace retnet

#endif  // RETNET_MODELS_MODEL_H_
