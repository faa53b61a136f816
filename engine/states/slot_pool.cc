#include "engine/states/slot_pool.h"

namespace retnet {

SlotPool::SlotPool(int32_t slots) {
  free_.reserve(slots);
  for (SlotId slot = slots - 1; slot >= 0; --slot) free_.push_back(slot);
}

SlotId SlotPool::Take() {
  if (free_.empty()) return kNoSlot;
  const SlotId slot = free_.back();
  free_.pop_back();
  return slot;
}

void SlotPool::Release(SlotId slot) { free_.push_back(slot); }

}  // namespace retnet
