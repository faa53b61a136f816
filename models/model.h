// The interface between the engine and a model: slots, steps over token rows, and their results. It
// is coarse (one call per step) and virtual, so that the backend is chosen at run time and tests
// can use a fake model.
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

// A place for one state on the device, 0 … slots − 1.
using SlotId = int32_t;

// A segment's only token may be this. It stands for the last token that the slot sampled, which the
// host may not know yet.
inline constexpr TokenId kLastSampled = -2;

// Prompt tokens and sampled tokens (decode, drafts) may be computed with different arithmetic.
// Within a class, the bits of a row never depend on other rows. All rows of a segment have the same
// class.
enum class RowClass { kPrompt, kSampled };

// A request for one row. No logits are computed for rows without an output.
struct RowOutput {
  int32_t row = 0;  // within the segment; must ascend
  SampleRequest request;
};

// The next tokens of one sequence. `position` is the position of the first one. It must equal the
// number of tokens that the state of the slot has seen.
struct Segment {
  SlotId slot = 0;
  int32_t position = 0;
  RowClass row_class = RowClass::kPrompt;
  std::span<const TokenId> tokens;
  std::span<const RowOutput> outputs;
};

// The results of a step: for each segment in order, for each of its outputs in order. A row whose
// logits are not finite has a result without a token (kernels/sampling.h). That is no error of the
// model: the other rows are as they are without it. The state of its slot is worth nothing.
struct StepResult {
  std::vector<SampleResult> results;
};

// Identifies a running read or write of a state.
using Ticket = uint64_t;
// Called once per ticket, from any thread, possibly before StartRead or StartWrite returns. Must
// not call the model.
using TransferDone = std::function<void(Ticket, absl::Status)>;

struct ModelInfo {
  std::string name;  // of the checkpoint, for clients and operators
  int32_t vocab_size = 0;
  int32_t slots = 0;     // at least 1
  int32_t max_rows = 0;  // the most tokens of a step; at least 1
  int32_t chunk = 1;     // prompt pieces that end at multiples of it are the cheapest
  // 2 if Launch returns before the step is computed. Then launching the next step before waiting
  // for this one keeps the device busy. Otherwise 1. Launch accepts two steps in flight in both
  // cases.
  int32_t steps_in_flight = 1;
  int64_t parameters = 0;
  int64_t weight_bytes = 0;                       // on the device
  int64_t base_bytes = 0;                         // of one base
  int64_t tail_token_bytes = 0;                   // of one token of a tail
  ElementType base_type = ElementType::kFloat32;  // of the elements of a base
  ElementType tail_type = ElementType::kFloat32;  // of the elements of a tail
  uint64_t fingerprint = 0;  // of config and weights: equal for models that compute the same
  bool states_in_host_memory = false;  // slots use host memory, which other programs need too
  std::string backend;                 // for logs: "cpu (avx512-bf16, 2 threads)"
  std::string device_note;             // why `auto` did not choose a better device; empty otherwise
  std::vector<std::string> unused_tensors;  // of the checkpoint, for the log
  TokenId bos = kNoToken;                   // kNoToken if the checkpoint names none
  std::vector<TokenId> eos;
};

// Thread-compatible: one thread calls the model. Calls take effect in call order, also while steps
// are in flight. While a slot is in a transfer (its ticket is not done), no call may name it.
class Model {
 public:
  virtual ~Model() = default;

  virtual const ModelInfo& info() const = 0;

  // Starts one step over all segments. The step must have 1 to info().max_rows rows. No two
  // segments may name the same slot. Segments of sampled tokens must come before segments of prompt
  // tokens. The spans may be reused when the call returns. At most two steps may be in flight.
  // INVALID_ARGUMENT, without any effect, for a segment that breaks a rule above or a token outside
  // the vocabulary.
  virtual absl::Status Launch(std::span<const Segment> segments) = 0;
  // Waits for the oldest step in flight. After an error the model is unusable. Overwrites `result`;
  // reuse the same object for all steps, so that its memory is reused.
  virtual absl::Status Wait(StepResult* result) = 0;

  // Makes `to`, which must be clear, a copy of the state of `from` after its first `position`
  // tokens. The tail is copied. The base is shared until one of the two slots folds. OUT_OF_RANGE
  // if `position` is outside [base position, tokens seen].
  virtual absl::Status Fork(SlotId from, SlotId to, int32_t position) = 0;
  absl::Status Fork(SlotId from, SlotId to) { return Fork(from, to, state(from).position); }
  // Removes the newest tokens, so that the state has seen `position` tokens. OUT_OF_RANGE if
  // `position` is outside [base position, tokens seen].
  virtual absl::Status Truncate(SlotId slot, int32_t position) = 0;
  // Resets the slot to the state before any token and frees its base.
  virtual absl::Status Clear(SlotId slot) = 0;

  // Describes a state as bytes: the base, then the tail, in the types of the device. Writing the
  // bytes back restores the same bits.
  struct StateShape {
    int32_t base_position = 0;  // a multiple of the chunk; 0: the bytes contain no base
    int32_t position = 0;       // tokens seen

    // The number of bytes, given the bytes of a base and of one token of a tail.
    int64_t Bytes(int64_t base_bytes, int64_t tail_token_bytes) const {
      return (base_position > 0 ? base_bytes : 0) +
             int64_t{position - base_position} * tail_token_bytes;
    }
  };
  virtual StateShape state(SlotId slot) const = 0;
  int64_t StateBytes(StateShape shape) const {
    return shape.Bytes(info().base_bytes, info().tail_token_bytes);
  }
  // Sets the function that is called at the end of every transfer. Must be set before the first
  // transfer. It may be called until the model is destroyed.
  void set_transfer_done(TransferDone done) { transfer_done_ = std::move(done); }
  // Starts to copy the state of a slot to `bytes`, which must have size StateBytes(state(slot)) and
  // stay valid until the ticket is done.
  virtual absl::StatusOr<Ticket> StartRead(SlotId slot, std::span<std::byte> bytes) = 0;
  // Starts to copy `bytes`, which StartRead produced for a state of this shape, to a slot. The slot
  // must be clear. `bytes` must stay valid until the ticket is done.
  virtual absl::StatusOr<Ticket> StartWrite(std::span<const std::byte> bytes, StateShape shape,
                                            SlotId slot) = 0;

 protected:
  TransferDone transfer_done_;
};

}  // namespace retnet

#endif  // RETNET_MODELS_MODEL_H_
