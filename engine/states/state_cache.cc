#include "engine/states/state_cache.h"

#include <algorithm>

#include "absl/time/clock.h"
#include "kernels/dcheck.h"

namespace retnet {
namespace {

// With fewer, a spare slot would cost the states too much room.
constexpr int32_t kSlotsForSpare = 16;

}  // namespace

StateCache::StateCache(Model* model, const StateCacheOptions& options, std::function<void()> wake)
    : model_(model), options_(options), slots_(model->info().slots) {
  model->set_transfer_done(
      [ended = ended_, wake = std::move(wake)](Ticket ticket, absl::Status status) {
        {
          const MutexLock lock(&ended->mutex);
          ended->tickets.emplace_back(ticket, std::move(status));
        }
        ended->added.NotifyOne();
        wake();
      });
}

// Transfers write to memory that ends with this object.
StateCache::~StateCache() {
  for (auto& [ticket, transfer] : transfers_) transfer.done = nullptr;
  AwaitTransfers();
  transfers_.clear();
}

StateRef StateCache::Make(Model::StateShape shape) {
  StateRef state(new CachedState, [this](CachedState* last) {
    Forget(last);
    delete last;
  });
  state->shape = shape;
  return state;
}

void StateCache::Forget(CachedState* state) {
  NoLongerCached(state);
  if (state->slot != kNoSlot) {
    Dequeue(state, &on_device_);
    ClearSlot(state->slot);
  }
  if (state->pinned) {
    pinned_bytes_ -= BytesOf(state->shape);
  } else if (state->bytes != nullptr) {
    DropFromHost(state);
  }
}

// An empty state has nothing to be spared.
void StateCache::Enqueue(CachedState* state, Queue* queue) {
  const auto bytes = static_cast<double>(std::max<int64_t>(BytesOf(state->shape), 1));
  state->rank = clock_ + static_cast<double>(state->shape.position) / bytes;
  queue->insert({state->rank, state});
}

StateRef StateCache::Park(SlotId slot) {
  StateRef state = Make(model_->state(slot));
  if (state->shape.position == 0) {
    ClearSlot(slot);
  } else {
    state->slot = slot;
    Enqueue(state.get(), &on_device_);
  }
  CheckInvariants();
  return state;
}

StateRef StateCache::ParkPinned(SlotId slot) {
  const int64_t bytes = BytesOf(model_->state(slot));
  if (bytes > options_.pinned_bytes - pinned_bytes_) return nullptr;
  StateRef state = Park(slot);
  if (state->shape.position == 0) return state;
  state->pinned = true;
  pinned_bytes_ += bytes;
  StartRead(state, /*moves_out=*/true, nullptr);
  EndTransfers();
  CheckInvariants();
  return state;
}

void StateCache::Unpin(const StateRef& state) {
  if (!std::exchange(state->pinned, false)) return;
  pinned_bytes_ -= BytesOf(state->shape);
  if (state->bytes != nullptr) KeepInHost(state.get(), std::move(state->bytes));
  CheckInvariants();
}

StateRef StateCache::ParkAt(SlotId slot, int32_t position) {
  status_.Update(model_->Truncate(slot, position));
  return Park(slot);
}

StateRef StateCache::ParkFork(SlotId slot, int32_t position) {
  const SlotId copy = TakeSlot();
  if (copy == kNoSlot) return nullptr;
  status_.Update(model_->Fork(slot, copy, position));
  return Park(copy);
}

StateRef StateCache::Adopt(Model::StateShape shape, StateBytes bytes) {
  StateRef state = Make(shape);
  if (shape.position > 0) KeepInHost(state.get(), std::move(bytes));
  CheckInvariants();
  return state;
}

void StateCache::Cache(const StateRef& state) {
  state->leave_behind = true;
  state->cached = true;
  cached_bytes_ += BytesOf(state->shape);
  CheckInvariants();
}

void StateCache::NoLongerCached(CachedState* state) {
  if (std::exchange(state->cached, false)) cached_bytes_ -= BytesOf(state->shape);
}

void StateCache::Touch(const StateRef& state) {
  state->leave_behind = false;
  if (state->in_transfer || state->gone() || state->pinned) return;
  Queue* queue = state->slot != kNoSlot ? &on_device_ : &in_host_;
  if (queue->erase({state->rank, state.get()}) > 0) Enqueue(state.get(), queue);
  CheckInvariants();
}

SlotId StateCache::Take() {
  const SlotId slot = TakeSlot();
  CheckInvariants();
  return slot;
}

SlotId StateCache::TakeSlot() {
  while (true) {
    if (const SlotId slot = slots_.Take(); slot != kNoSlot) return slot;
    if (!Offload()) return kNoSlot;
    EndTransfers();  // a backend may have moved it already
    if (slots_.free() == 0) return kNoSlot;
  }
}

// What moves nowhere needs no time.
void StateCache::KeepSpareSlot() {
  if (slots_.free() > 0 || model_->info().slots < kSlotsForSpare || on_device_.empty()) return;
  if (HasRoomInHost(*on_device_.begin()->second)) Offload();
  CheckInvariants();
}

bool StateCache::leaving() const {
  return std::any_of(transfers_.begin(), transfers_.end(),
                     [](const auto& entry) { return entry.second.moves_out; });
}

bool StateCache::HasRoomInHost(const CachedState& state) const {
  return BytesOf(state.shape) <= options_.host_bytes - (state.leave_behind ? host_bytes_ : 0);
}

// One slot is emptied at a time for those that wait; more would be more than they need.
bool StateCache::Offload() {
  if (leaving()) return true;
  if (on_device_.empty()) return false;
  const StateRef state = on_device_.begin()->second->shared_from_this();
  clock_ = std::max(clock_, state->rank);
  ++evictions_;
  if (HasRoomInHost(*state)) {
    StartRead(state, /*moves_out=*/true, nullptr);
    return true;
  }
  Dequeue(state.get(), &on_device_);
  ClearSlot(std::exchange(state->slot, kNoSlot));
  NoLongerCached(state.get());
  return true;
}

void StateCache::Release(SlotId slot) {
  if (!filling(slot)) ClearSlot(slot);
  for (auto& [ticket, transfer] : transfers_) {
    if (transfer.state == nullptr && transfer.slot == slot) transfer.unwanted = true;
  }
  CheckInvariants();
}

void StateCache::ClearSlot(SlotId slot) {
  status_.Update(model_->Clear(slot));
  slots_.Release(slot);
}

SlotId StateCache::Restore(StatePrefix* prefix) {
  if (prefix->state->in_transfer) return kNoSlot;
  const bool is_last_holder = prefix->state.use_count() == 1;
  const SlotId slot = prefix->state->slot != kNoSlot && is_last_holder
                          ? TakeOver(prefix->state.get(), prefix->tokens)
                          : RestoreCopy(prefix->state, prefix->tokens);
  if (slot != kNoSlot) *prefix = {};
  CheckInvariants();
  return slot;
}

SlotId StateCache::TakeOver(CachedState* state, int32_t position) {
  Dequeue(state, &on_device_);
  const SlotId slot = std::exchange(state->slot, kNoSlot);
  status_.Update(model_->Truncate(slot, position));
  return slot;
}

SlotId StateCache::RestoreCopy(const StateRef& state, int32_t position) {
  Touch(state);
  const StateBytes bytes = state->bytes;  // also when room is made at its own expense
  const SlotId slot = state->slot != kNoSlot ? TakeBeside(state.get()) : TakeSlot();
  if (slot == kNoSlot) return kNoSlot;
  if (state->slot != kNoSlot) {
    status_.Update(model_->Fork(state->slot, slot, position));
  } else {
    StartWrite(bytes, state->shape, position, slot);
  }
  return slot;
}

// A slot for a fork must not come from the state that is forked; unless there is no other, and
// nobody runs who could leave one.
SlotId StateCache::TakeBeside(CachedState* state) {
  Dequeue(state, &on_device_);
  const SlotId slot = TakeSlot();
  const bool alone = slot == kNoSlot && on_device_.empty() && transfers_.empty();
  on_device_.insert({state->rank, state});
  if (!alone || model_->info().slots > 1) return slot;
  Offload();
  EndTransfers();
  return kNoSlot;
}

absl::Duration StateCache::RestoreTime(const CachedState& state) const {
  if (state.slot != kNoSlot) return absl::ZeroDuration();
  return absl::Seconds(seconds_a_byte_ * static_cast<double>(BytesOf(state.shape)));
}

void StateCache::KeepInHost(CachedState* state, StateBytes bytes) {
  host_bytes_ += static_cast<int64_t>(bytes->size());
  state->bytes = std::move(bytes);
  Enqueue(state, &in_host_);
  while (host_bytes_ > options_.host_bytes && !in_host_.empty()) {
    CachedState* evicted = in_host_.begin()->second;
    clock_ = std::max(clock_, evicted->rank);
    ++evictions_;
    DropFromHost(evicted);
  }
}

void StateCache::DropFromHost(CachedState* state) {
  Dequeue(state, &in_host_);
  host_bytes_ -= static_cast<int64_t>(state->bytes->size());
  state->bytes.reset();
  NoLongerCached(state);
}

int32_t StateCache::running_slots() const {
  int32_t others = slots_.free() + parked_slots();
  for (const auto& [ticket, transfer] : transfers_) {
    others += transfer.state != nullptr || transfer.unwanted;
  }
  return model_->info().slots - others;
}

void StateCache::CheckInvariants() const {
  if (!kDchecks) return;
  std::vector<bool> found(model_->info().slots);
  const auto find = [&found](SlotId slot) {
    RETNET_DCHECK(slot >= 0 && slot < found.size() && !found[slot]);
    found[slot] = true;
  };
  for (const SlotId slot : slots_.free_slots()) find(slot);
  int64_t host_bytes = 0;
  int64_t cached_bytes = 0;
  for (const auto& [rank, state] : on_device_) {
    RETNET_DCHECK(rank == state->rank);
    RETNET_DCHECK(state->bytes == nullptr && !state->in_transfer);
    find(state->slot);
    if (state->cached) cached_bytes += BytesOf(state->shape);
  }
  for (const auto& [rank, state] : in_host_) {
    RETNET_DCHECK(rank == state->rank);
    RETNET_DCHECK(state->slot == kNoSlot && state->bytes != nullptr);
    host_bytes += static_cast<int64_t>(state->bytes->size());
    if (state->cached) cached_bytes += BytesOf(state->shape);
  }
  size_t writes = 0;
  for (const auto& [ticket, transfer] : transfers_) {
    find(transfer.slot);
    const StateRef& state = transfer.state;
    if (state == nullptr) {
      ++writes;
      RETNET_DCHECK(filling(transfer.slot));
      continue;
    }
    RETNET_DCHECK(state->in_transfer && state->slot == transfer.slot);
    if (state->cached) cached_bytes += BytesOf(state->shape);
  }
  RETNET_DCHECK(filling_.size() == writes);
  RETNET_DCHECK(host_bytes == host_bytes_ && host_bytes <= options_.host_bytes);
  RETNET_DCHECK(cached_bytes == cached_bytes_);
}

}  // namespace retnet
