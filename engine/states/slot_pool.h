// Knows which of the model's slots are free.
#ifndef RETNET_ENGINE_STATES_SLOT_POOL_H_
#define RETNET_ENGINE_STATES_SLOT_POOL_H_

#include <cstdint>
#include <span>
#include <vector>

#include "models/model.h"

namespace retnet {

inline constexpr SlotId kNoSlot = -1;

// Thread-compatible.
class SlotPool {
 public:
  // Slots 0 … slots − 1, all free.
  explicit SlotPool(int32_t slots);

  int32_t free() const { return static_cast<int32_t>(free_.size()); }
  // Takes the slot that was freed last: its memory is most likely in the cache. kNoSlot if none is
  // free.
  SlotId Take();
  // Gives back a slot that Take returned.
  void Release(SlotId slot);
  // In no particular order.
  std::span<const SlotId> free_slots() const { return free_; }

 private:
  const int32_t slots_;
  std::vector<SlotId> free_;
};

}  // namespace retnet

#endif  // RETNET_ENGINE_STATES_SLOT_POOL_H_
