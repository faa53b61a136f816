// States that nobody computes on: of idle sessions, of their forks, and of cached prefixes, in
// slots of the device or in host memory.
#ifndef RETNET_ENGINE_STATES_STATE_CACHE_H_
#define RETNET_ENGINE_STATES_STATE_CACHE_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "engine/options.h"
#include "engine/states/byte_vector.h"
#include "engine/states/slot_pool.h"
#include "kernels/mutex.h"
#include "models/model.h"

namespace retnet {

using StateBytes = std::shared_ptr<const ByteVector>;

// One of them; StateCache alone changes it.
struct CachedState : std::enable_shared_from_this<CachedState> {
  Model::StateShape shape;
  SlotId slot = kNoSlot;      // on the device, or
  StateBytes bytes;           // in host memory, or gone: evicted, and to be computed again
  bool in_transfer = false;   // its slot is being read
  bool leave_behind = false;  // of no use yet: moves to host memory only where that has room
  bool cached = false;        // counts as a cached prefix's
  double rank = 0.0;          // the least is evicted first

  bool gone() const { return slot == kNoSlot && bytes == nullptr && shape.position > 0; }
};

// Whoever has an interest in a state holds a reference: a session, its forks, cache entries. The
// last holder takes its slot when it goes on; others get a fork. Without holders it is forgotten.
using StateRef = std::shared_ptr<CachedState>;

// What is wanted of a state that may have seen more: its first `tokens` tokens. Of none: null.
struct StatePrefix {
  StateRef state;
  int32_t tokens = 0;

  bool there() const {
    return state != nullptr && !state->gone() && state->shape.base_position <= tokens &&
           tokens <= state->shape.position;
  }
};

// Hands out the slots, too. Where none is free, the resting state whose loss would cost least a
// byte moves from its slot to host memory, and the one of host memory that costs least is evicted,
// by GreedyDual-Size (Cao and Irani, USITS 1997): rank = clock + tokens / bytes, the clock being
// the last evicted one's rank. Transfers run beside the steps. Thread-compatible; outlives every
// reference.
class StateCache {
 public:
  // `model` outlives it; `wake` is called from any thread when a transfer has ended, which Poll
  // then takes note of.
  StateCache(Model* model, const StateCacheOptions& options, std::function<void()> wake);
  ~StateCache();

  // The state in this slot, which rests from now on.
  StateRef Park(SlotId slot);
  // The same, cut to its first `position` tokens.
  StateRef ParkAt(SlotId slot, int32_t position);
  // The same, as a fork; null where there is no slot for it.
  StateRef ParkFork(SlotId slot, int32_t position);
  // A state that came as bytes.
  StateRef Adopt(Model::StateShape shape, StateBytes bytes);
  // It has become a cached prefix's, which has been of no use yet.
  void Cache(const StateRef& state);
  // It has been of use: its eviction is put off.
  void Touch(const StateRef& state);

  // A clear slot; kNoSlot when none can be had now: all are running or being moved.
  SlotId Take();
  // Gives a slot back, whatever is in it.
  void Release(SlotId slot);
  // Where there are many slots, starts to move a state out when none is free, so that whoever comes
  // next need not wait for it.
  void KeepSpareSlot();

  // A slot with the state of the prefix, which is there: its own slot for the last holder, else a
  // fork's, or one that it is written to. kNoSlot when none can be had now, or the state is being
  // read; `prefix` is then unchanged, else of none. The slot may still be filling.
  SlotId Restore(StatePrefix* prefix);
  bool filling(SlotId slot) const { return filling_.contains(slot); }
  // What writing the state to a slot is expected to take; zero for one that has a slot.
  absl::Duration RestoreTime(const CachedState& state) const;

  // The state's bytes: calls `done` once with them, at once or from Poll. The state keeps its
  // place.
  void Read(const StateRef& state, std::function<void(absl::StatusOr<StateBytes>)> done);

  // Ends the transfers that are over.
  void Poll();
  // Waits until all transfers have ended, and ends them.
  void AwaitTransfers();
  bool transferring() const { return !transfers_.empty(); }
  // Not OK once the model has failed.
  const absl::Status& status() const { return status_; }

  // The size of a state of this shape.
  int64_t BytesOf(const Model::StateShape& shape) const { return model_->StateBytes(shape); }

  int32_t free_slots() const { return slots_.free(); }
  int32_t parked_slots() const { return static_cast<int32_t>(on_device_.size()); }
  int64_t host_bytes() const { return host_bytes_; }
  int64_t cached_bytes() const { return cached_bytes_; }  // of cached prefixes' states
  int64_t evictions() const { return evictions_; }

 private:
  using Queue = std::set<std::pair<double, CachedState*>>;
  struct Transfer {
    StateRef state;  // being read; null for a write
    SlotId slot = kNoSlot;
    std::shared_ptr<ByteVector> read;
    StateBytes written;
    int32_t position = 0;   // a write: to be truncated to
    bool unwanted = false;  // a write whose slot has been released meanwhile
    bool moves_out = false;
    absl::Time start;
    std::function<void(absl::StatusOr<StateBytes>)> done;
  };
  // What StateCache and the model's transfer threads share: outlives both.
  struct Ended {
    Mutex mutex;
    CondVar added;
    std::vector<std::pair<Ticket, absl::Status>> tickets ABSL_GUARDED_BY(mutex);
  };

  StateRef Make(Model::StateShape shape);
  void Forget(CachedState* state);
  void Enqueue(CachedState* state, Queue* queue);
  void Dequeue(CachedState* state, Queue* queue) { queue->erase({state->rank, state}); }
  // Starts what makes a slot free, now or later; whether there was anything to start.
  bool Offload();
  bool leaving() const;  // a state is moving out of its slot
  // It moves to host memory when it gives up its slot.
  bool HasRoomInHost(const CachedState& state) const;
  SlotId TakeBeside(CachedState* state);
  void KeepInHost(CachedState* state, StateBytes bytes);
  void DropFromHost(CachedState* state);
  void NoLongerCached(CachedState* state);
  void ClearSlot(SlotId slot);
  void StartRead(const StateRef& state, bool moves_out,
                 std::function<void(absl::StatusOr<StateBytes>)> done);
  void StartWrite(const StateBytes& bytes, Model::StateShape shape, int32_t position, SlotId slot);
  void Finish(Transfer transfer, const absl::Status& status);
  void FinishRead(Transfer& transfer, const absl::Status& status);
  void FinishWrite(Transfer& transfer, const absl::Status& status);

  Model* const model_;
  const StateCacheOptions options_;
  SlotPool slots_;
  Queue on_device_;  // that have a slot and are not in transfer
  Queue in_host_;
  int64_t host_bytes_ = 0;  // held by those in host memory
  int64_t cached_bytes_ = 0;
  double clock_ = 0.0;
  int64_t evictions_ = 0;
  double seconds_a_byte_ = 0.0;  // of writes, lately
  std::set<SlotId> filling_;
  std::map<Ticket, Transfer> transfers_;
  std::shared_ptr<Ended> ended_ = std::make_shared<Ended>();
  absl::Status status_;
};

}  // namespace retnet

#endif  // RETNET_ENGINE_STATES_STATE_CACHE_H_
