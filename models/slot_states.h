// Which base each slot reads, where it stands and how far its tail reaches: the bookkeeping of
// states, without their numbers. Bases are counted by their readers.
#ifndef RETNET_MODELS_SLOT_STATES_H_
#define RETNET_MODELS_SLOT_STATES_H_

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "kernels/kernels.h"
#include "models/model.h"

namespace retnet {

// Thread-compatible. There are as many bases as slots and a slot reads at most one, so a base that
// two slots share implies a free one: a fold always finds its place.
class SlotStates {
 public:
  struct Slot {
    int32_t base = kZeroBase;  // kZeroBase exactly when base_position is 0
    int32_t base_position = 0;
    int32_t position = 0;      // tokens seen
    bool has_sampled = false;  // a token, which the device keeps

    int32_t tail() const { return position - base_position; }
    bool clear() const { return position == 0; }
  };

  explicit SlotStates(int32_t slots);

  int32_t size() const { return static_cast<int32_t>(slots_.size()); }
  // INVALID_ARGUMENT for a slot that does not exist.
  absl::Status Check(SlotId slot) const;
  const Slot& operator[](SlotId slot) const { return slots_[slot]; }

  // As Model's. Only the bookkeeping: the caller copies the tail's numbers.
  absl::Status Fork(SlotId from, SlotId to, int32_t position);
  absl::Status Truncate(SlotId slot, int32_t position);
  absl::Status Clear(SlotId slot);
  // Puts a state that comes as bytes into a clear slot, with a base of its own unless it stands at
  // 0.
  absl::Status Adopt(Model::StateShape shape, SlotId slot);
  void SetSampled(SlotId slot) { slots_[slot].has_sampled = true; }

  // Starts the bookkeeping of a step, in which each slot advances at most once.
  void BeginStep() { ++step_; }
  // Appends to `pieces` those of the slot's next `rows` tokens, whose first row is `first_row`, and
  // moves the slot past them. Returns the fold phase they belong to: 1 if they fold in place a base that
  // another slot of this step leaves by folding from it (or reads before), else 0. Within a fold phase no
  // slot writes a base that another one touches, and fold phase 0 runs before fold phase 1.
  int32_t Advance(SlotId slot, int32_t rows, int32_t first_row,
                  std::vector<RetentionPiece>& pieces);

 private:
  // OUT_OF_RANGE unless the slot's state can be cut to so many tokens.
  absl::Status CheckPosition(SlotId slot, int32_t position) const;
  int32_t Fold(Slot& slot, RetentionPiece& piece);
  int32_t TakeBase();
  void ReleaseBase(Slot& slot);
  // Each base has as many readers as slots read it, and is free exactly when it has none. Each
  // slot's tail begins at a chunk boundary and has at most a chunk. O(slots).
  void CheckInvariants() const;

  std::vector<Slot> slots_;
  std::vector<int32_t> readers_;  // of each base
  std::vector<int32_t> free_;     // bases without readers
  // Of each base: the last step in which a slot folded from it into another one.
  std::vector<uint64_t> left_in_;
  uint64_t step_ = 0;
};

}  // namespace retnet

#endif  // RETNET_MODELS_SLOT_STATES_H_
