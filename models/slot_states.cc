#include "models/slot_states.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "kernels/dcheck.h"
#include "kernels/status_macros.h"

namespace retnet {

SlotStates::SlotStates(int32_t slots) : slots_(slots), readers_(slots, 0), left_in_(slots, 0) {
  for (int32_t base = slots - 1; base >= 0; --base) free_.push_back(base);
}

absl::Status SlotStates::Check(SlotId slot) const {
  if (slot >= 0 && slot < size()) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("slot ", slot, " does not exist; there are ", size()));
}

absl::Status SlotStates::Fork(SlotId from, SlotId to, int32_t position) {
  RETURN_IF_ERROR(Check(from));
  RETURN_IF_ERROR(Check(to));
  if (from == to) return absl::InvalidArgumentError(absl::StrCat("slot ", to, " forks to itself"));
  if (!slots_[to].clear()) {
    return absl::FailedPreconditionError(absl::StrCat("slot ", to, " holds ", slots_[to].position,
                                                      " tokens; a fork needs it clear"));
  }
  RETURN_IF_ERROR(CheckPosition(from, position));
  slots_[to] = slots_[from];
  slots_[to].position = position;
  if (slots_[to].base != kZeroBase) ++readers_[slots_[to].base];
  CheckInvariants();
  return absl::OkStatus();
}

absl::Status SlotStates::Truncate(SlotId slot, int32_t position) {
  RETURN_IF_ERROR(Check(slot));
  RETURN_IF_ERROR(CheckPosition(slot, position));
  slots_[slot].position = position;
  CheckInvariants();
  return absl::OkStatus();
}

absl::Status SlotStates::CheckPosition(SlotId id, int32_t position) const {
  const Slot& slot = slots_[id];
  if (position >= slot.base_position && position <= slot.position) return absl::OkStatus();
  return absl::OutOfRangeError(absl::StrCat("slot ", id, " can be truncated to ",
                                            slot.base_position, " … ", slot.position, ", not to ",
                                            position));
}

absl::Status SlotStates::Clear(SlotId slot) {
  RETURN_IF_ERROR(Check(slot));
  ReleaseBase(slots_[slot]);
  slots_[slot] = Slot();
  CheckInvariants();
  return absl::OkStatus();
}

absl::Status SlotStates::Adopt(Model::StateShape shape, SlotId id) {
  RETURN_IF_ERROR(Check(id));
  Slot& slot = slots_[id];
  if (!slot.clear()) {
    return absl::FailedPreconditionError(
        absl::StrCat("slot ", id, " holds ", slot.position, " tokens; a write needs it clear"));
  }
  if (shape.base_position < 0 || shape.base_position % kChunk != 0) {
    return absl::InvalidArgumentError(absl::StrCat("base_position is ", shape.base_position,
                                                   "; it must be a multiple of ", kChunk));
  }
  const int64_t tail = int64_t{shape.position} - shape.base_position;
  if (tail < 0 || tail > kChunk) {
    return absl::InvalidArgumentError(absl::StrCat("position is ", shape.position,
                                                   "; it must be within ", kChunk,
                                                   " after base_position ", shape.base_position));
  }
  slot = {.base = shape.base_position > 0 ? TakeBase() : kZeroBase,
          .base_position = shape.base_position,
          .position = shape.position};
  CheckInvariants();
  return absl::OkStatus();
}

int32_t SlotStates::Advance(SlotId id, int32_t rows, int32_t first_row,
                            std::vector<RetentionPiece>& pieces) {
  Slot& slot = slots_[id];
  int32_t fold_phase = 0;
  while (rows > 0) {
    RetentionPiece piece{.slot = id, .first_row = first_row, .position = slot.position};
    if (slot.tail() == kChunk) fold_phase = std::max(fold_phase, Fold(slot, piece));
    piece.tail = slot.tail();
    piece.base = slot.base;
    piece.rows = std::min(rows, kChunk - piece.tail);
    pieces.push_back(piece);
    first_row += piece.rows;
    rows -= piece.rows;
    slot.position += piece.rows;
  }
  CheckInvariants();
  return fold_phase;
}

// In place if no other slot reads the base, otherwise into a free base. The first fold reads no
// base.
int32_t SlotStates::Fold(Slot& slot, RetentionPiece& piece) {
  piece.folds = true;
  piece.fold_source = slot.base;
  slot.base_position += kChunk;
  if (slot.base == kZeroBase) {
    slot.base = TakeBase();
  } else if (readers_[slot.base] > 1) {
    left_in_[slot.base] = step_;
    --readers_[slot.base];
    slot.base = TakeBase();
  } else {
    return left_in_[slot.base] == step_ ? 1 : 0;
  }
  return 0;
}

int32_t SlotStates::TakeBase() {
  RETNET_DCHECK(!free_.empty());
  const int32_t base = free_.back();
  free_.pop_back();
  readers_[base] = 1;
  return base;
}

void SlotStates::ReleaseBase(Slot& slot) {
  if (slot.base != kZeroBase && --readers_[slot.base] == 0) free_.push_back(slot.base);
}

void SlotStates::CheckInvariants() const {
  if (!kDchecks) return;
  std::vector<int32_t> readers(slots_.size());
  for (const Slot& slot : slots_) {
    RETNET_DCHECK((slot.base == kZeroBase) == (slot.base_position == 0));
    RETNET_DCHECK(slot.base_position >= 0 && slot.base_position % kChunk == 0);
    RETNET_DCHECK(slot.tail() >= 0 && slot.tail() <= kChunk);
    if (slot.base != kZeroBase) ++readers[slot.base];
  }
  RETNET_DCHECK(readers == readers_);
  RETNET_DCHECK(free_.size() == std::count(readers.begin(), readers.end(), 0));
  for (const int32_t base : free_) RETNET_DCHECK(readers[base] == 0);
}

}  // namespace retnet
