#include "engine/states/slot_pool.h"

#include <algorithm>

#include "kernels/dcheck.h"

namespace retnet {

SlotPool::SlotPool(int32_t slots) : slots_(slots) {
  free_.reserve(slots);
  for (SlotId slot = slots - 1; slot >= 0; --slot) free_.push_back(slot);
}

SlotId SlotPool::Take() {
  if (free_.empty()) return kNoSlot;
  const SlotId slot = free_.back();
  free_.pop_back();
  return slot;
}

void SlotPool::Release(SlotId slot) {
  RETNET_DCHECK(slot >= 0 && slot < slots_);
  RETNET_DCHECK(std::find(free_.begin(), free_.end(), slot) == free_.end());
  free_.push_back(slot);
}

}  // namespace retnet
