// The bookkeeping of states: the base that each slot reads, the position of the base, and the
// length of the tail. It does not hold the numbers. The readers of each base are counted.
#ifndef RETNET_MODELS_SLOT_STATES_H_
#define RETNET_MODELS_SLOT_STATES_H_

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "kernels/kernels.h"
#include "models/model.h"

namespace retnet {

// Thread-compatible.
//
// A fold always finds a base to write to. Proof: there are as many bases as slots, and a slot reads
// at most one. So if two slots share a base, at least one base is free; and if no other slot reads
// the base, the fold overwrites it.
//
// Fold phases. A fold reads base[fold_source] and writes base[base]. All segments of one call of
// Retention run in any order or at the same time. Suppose two slots share base B and both fold in
// the same step. The first one to advance is not the only reader, so it folds from B into a free
// base: its segment reads B. The second one is then the only reader, so it folds in place: its
// segment writes B. This write must not happen before the first segment has read B. So the step is
// split into two phases, each of which is one call of Retention per layer:
//   phase 1  segments that fold in place a base from which another slot of this step folded away
//   phase 0  all other segments, among them those that folded away
// Phase 0 runs first, so all its reads of B precede the writes of phase 1. Within a phase, no
// segment reads or writes a base that another segment writes: a base with other readers is never
// folded in place, and no base becomes free during a step.
class SlotStates {
 public:
  struct Slot {
    int32_t base = kZeroBase;  // kZeroBase exactly when base_position is 0
    int32_t base_position = 0;
    int32_t position = 0;      // tokens seen
    bool has_sampled = false;  // the device holds a last sampled token of the slot

    int32_t tail() const { return position - base_position; }
    bool clear() const { return position == 0; }
  };

  explicit SlotStates(int32_t slots);

  int32_t size() const { return static_cast<int32_t>(slots_.size()); }
  // INVALID_ARGUMENT for a slot that does not exist.
  absl::Status Check(SlotId slot) const;
  const Slot& operator[](SlotId slot) const { return slots_[slot]; }

  // The bookkeeping of the functions of Model. The caller copies the numbers of the tail.
  absl::Status Fork(SlotId from, SlotId to, int32_t position);
  absl::Status Truncate(SlotId slot, int32_t position);
  absl::Status Clear(SlotId slot);
  // Assigns to a clear slot a state that is restored from bytes. It gets its own base, unless
  // base_position is 0.
  absl::Status Adopt(Model::StateShape shape, SlotId slot);
  void SetSampled(SlotId slot) { slots_[slot].has_sampled = true; }

  // Begins a step. Within a step, each slot may advance at most once.
  void BeginStep() { ++step_; }
  // Advances the slot by `rows` tokens, whose first row is `first_row`, and appends their pieces to
  // `pieces`. Returns the fold phase of all of them: 1 if they fold in place a base from which
  // another slot folded earlier in this step, otherwise 0.
  int32_t Advance(SlotId slot, int32_t rows, int32_t first_row,
                  std::vector<RetentionPiece>& pieces);

 private:
  // OUT_OF_RANGE unless the state of the slot can be truncated to `position` tokens.
  absl::Status CheckPosition(SlotId slot, int32_t position) const;
  // Moves the base of the slot to the end of its full tail. Sets the fold in `piece`. Returns the
  // fold phase.
  int32_t Fold(Slot& slot, RetentionPiece& piece);
  int32_t TakeBase();
  void ReleaseBase(Slot& slot);
  // Each base has as many readers as slots read it, and is free exactly when it has none. Each
  // slot's tail begins at a chunk boundary and has at most a chunk. O(slots).
  void CheckInvariants() const;

  std::vector<Slot> slots_;
  std::vector<int32_t> readers_;  // of each base, the number of slots that read it
  std::vector<int32_t> free_;     // bases without readers
  // Of each base: the last step in which a slot folded from it into another one.
  std::vector<uint64_t> left_in_;
  uint64_t step_ = 0;
};

}  // namespace retnet

#endif  // RETNET_MODELS_SLOT_STATES_H_
