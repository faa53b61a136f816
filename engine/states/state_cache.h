// Owns the states that no sequence is computing on: those of idle sessions, of their forks and of
// cached prefixes, in slots of the device or in host memory. Hands out the slots as well.
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

// A state that no sequence is computing on. Only StateCache modifies it.
struct CachedState : std::enable_shared_from_this<CachedState> {
  Model::StateShape shape;
  // Where it is: in a slot, in host memory, or in neither, when it is gone: its tokens are then to
  // be computed again. A state of no tokens needs no place.
  SlotId slot = kNoSlot;
  StateBytes bytes;
  bool in_transfer = false;   // its slot is being read; no call may name the slot
  bool leave_behind = false;  // not used yet: moves to host memory only where that has room
  bool cached = false;        // of a cached prefix: counts in cached_bytes()
  bool pinned = false;        // of a sequence that gave up its slot: never evicted
  double rank = 0.0;          // the state of the smallest rank is evicted first

  bool gone() const { return slot == kNoSlot && bytes == nullptr && shape.position > 0; }
};

// Who wants a state to be kept holds a reference: a session, its forks, entries of the prefix
// cache, samples of one prompt. When the last reference goes, the state is forgotten: its slot or
// its bytes are free.
using StateRef = std::shared_ptr<CachedState>;

// The first `tokens` tokens of a state, which may have seen more. A null state: of no tokens.
struct StatePrefix {
  StateRef state;
  int32_t tokens = 0;

  bool there() const {
    return state != nullptr && !state->gone() && state->shape.base_position <= tokens &&
           tokens <= state->shape.position;
  }
};

// The life of a state, and the calls that move it:
//
//                Park, ParkAt, ParkFork               Offload                    evicted
//   running  ──────────────────────────► parked in  ──────────► in host memory ──────────► gone
//   (slot of ◄────────────────────────── a slot                   │        ▲
//   a sequence)  Restore: moved or forked                         │        │ Adopt
//       ▲                                                         │        │
//       └─────────────────────────────────────────────────────────┘    snapshot store, or imported
//                Restore: StartWrite to a free slot
//
//   parked, or in host memory ── Read ──► bytes ──► Sessions ──► SnapshotIo ──► snapshot store
//
// Who runs, parks and restores is decided by StateManager; Sessions reads and adopts. Restoring to
// the last holder of a state moves it; others get a copy. Transfers between a slot and host memory
// run beside the steps; Poll takes note of their ends.
//
// ParkPinned: the state of a sequence that gives up its slot. It goes the same way, but is never
// evicted.
//
// Where no slot is free, the parked state whose loss would cost least a byte moves to host memory,
// and the state of host memory that costs least is evicted, by GreedyDual-Size (Cao and Irani,
// USITS 1997): rank = clock + tokens / bytes, where clock is the rank of the state evicted last.
// Thread-compatible. Outlives every reference.
class StateCache {
 public:
  // `model` outlives it. `wake` is called from any thread when a transfer has ended and Poll should
  // be called.
  StateCache(Model* model, const StateCacheOptions& options, std::function<void()> wake);
  ~StateCache();

  // Takes over the state in this slot, and the slot.
  StateRef Park(SlotId slot);
  // The same of its first `position` tokens; the others are forgotten.
  StateRef ParkAt(SlotId slot, int32_t position);
  // A copy of its first `position` tokens in another slot; the state goes on running. Null where no
  // slot can be had now.
  StateRef ParkFork(SlotId slot, int32_t position);
  // The same for a sequence that will go on: starts to move the state to host memory at once, where
  // it stays, whatever else is there, until it is restored. Null, and nothing is done, where
  // pinned_bytes() would pass their limit.
  StateRef ParkPinned(SlotId slot);
  // The sequence does not go on: its state is like any other's from now on.
  void Unpin(const StateRef& state);
  // Takes a state that comes as bytes into host memory.
  StateRef Adopt(Model::StateShape shape, StateBytes bytes);
  // Counts the state as a cached prefix's that has not been used yet. Once for a state.
  void Cache(const StateRef& state);
  // The state has been used: puts its eviction off.
  void Touch(const StateRef& state);

  // A clear slot; kNoSlot when none can be had now: all are running or being moved.
  SlotId Take();
  // Clears a slot that Take or Restore gave out, and takes it back.
  void Release(SlotId slot);
  // On a device of many slots, starts to move a state out when no slot is free, so that the next
  // sequence need not wait for it.
  void KeepSpareSlot();

  // A slot with the state of the prefix, for which prefix->there() holds. The last holder gets the
  // state's own slot, others a fork; a state in host memory is written to a free slot, which may
  // still be filling at return. Empties `prefix`; but when no slot can be had now, or the state is
  // being read, leaves it as it is and returns kNoSlot.
  SlotId Restore(StatePrefix* prefix);
  // A state is being written to the slot.
  bool filling(SlotId slot) const { return filling_.contains(slot); }
  // What writing the state to a slot is expected to take; zero for one that has a slot.
  absl::Duration RestoreTime(const CachedState& state) const;

  // Calls `done` once with the state's bytes, at once or from Poll; NOT_FOUND when the state is
  // gone, or the model's error. The state keeps its place.
  void Read(const StateRef& state, std::function<void(absl::StatusOr<StateBytes>)> done);

  // Takes note of the transfers that have ended. Never waits.
  void Poll();
  // Waits until all transfers have ended, or the model has failed.
  void AwaitTransfers();
  bool transferring() const { return !transfers_.empty(); }
  bool leaving() const;  // a state is moving out of its slot
  // Not OK once the model has failed.
  const absl::Status& status() const { return status_; }

  // The size of a state of this shape.
  int64_t BytesOf(const Model::StateShape& shape) const { return model_->StateBytes(shape); }

  int32_t free_slots() const { return slots_.free(); }
  // Slots that Take and Restore gave out and that have not come back.
  int32_t running_slots() const;
  int32_t parked_slots() const { return static_cast<int32_t>(on_device_.size()); }
  int64_t host_bytes() const { return host_bytes_; }
  int64_t pinned_bytes() const { return pinned_bytes_; }  // not in host_bytes()
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
  // It moves to host memory when it gives up its slot.
  bool HasRoomInHost(const CachedState& state) const;
  SlotId TakeSlot();
  SlotId TakeBeside(CachedState* state);
  // The state's own slot, which it gives up, truncated to `position` tokens.
  SlotId TakeOver(CachedState* state, int32_t position);
  // Another slot, to which the first `position` tokens of the state are forked or written.
  SlotId RestoreCopy(const StateRef& state, int32_t position);
  void KeepInHost(CachedState* state, StateBytes bytes);
  void DropFromHost(CachedState* state);
  void NoLongerCached(CachedState* state);
  void ClearSlot(SlotId slot);
  void StartRead(const StateRef& state, bool moves_out,
                 std::function<void(absl::StatusOr<StateBytes>)> done);
  void StartWrite(const StateBytes& bytes, Model::StateShape shape, int32_t position, SlotId slot);
  void EndTransfers();
  void Finish(Transfer transfer, const absl::Status& status);
  void FinishRead(Transfer& transfer, const absl::Status& status);
  void FinishWrite(Transfer& transfer, const absl::Status& status);
  // Every slot is in one place at most: free, parked, being read, being filled; the others are
  // running. States are in their queues under their own ranks. The sums of bytes are right. At the
  // end of every public method that changes something; O(states).
  void CheckInvariants() const;

  Model* const model_;
  const StateCacheOptions options_;
  SlotPool slots_;
  Queue on_device_;  // that have a slot and are not in transfer
  Queue in_host_;
  int64_t host_bytes_ = 0;    // held by the others in host memory
  int64_t pinned_bytes_ = 0;  // of pinned states, on their way to host memory or there
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
