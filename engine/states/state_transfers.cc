// The transfers of StateCache between slots and host memory.
#include <algorithm>
#include <utility>

#include "absl/time/clock.h"
#include "engine/states/state_cache.h"

namespace retnet {

void StateCache::StartWrite(const StateBytes& bytes, Model::StateShape shape, int32_t position,
                            SlotId slot) {
  const absl::Time start = absl::Now();
  const absl::StatusOr<Ticket> ticket = model_->StartWrite(*bytes, shape, slot);
  status_.Update(ticket.status());
  if (!ticket.ok()) return;
  filling_.insert(slot);
  Transfer& transfer = transfers_[*ticket];
  transfer.slot = slot;
  transfer.written = bytes;
  transfer.position = position;
  transfer.start = start;
  EndTransfers();
}

void StateCache::Read(const StateRef& state, std::function<void(absl::StatusOr<StateBytes>)> done) {
  if (state->bytes != nullptr) return done(state->bytes);
  if (state->slot == kNoSlot) {
    if (state->gone()) return done(absl::NotFoundError("the state has been evicted"));
    return done(std::make_shared<ByteVector>());
  }
  for (auto& [ticket, transfer] : transfers_) {
    if (transfer.state != state) continue;
    transfer.done = [first = std::move(transfer.done),
                     second = std::move(done)](absl::StatusOr<StateBytes> bytes) {
      if (first) first(bytes);
      second(std::move(bytes));
    };
    return;
  }
  StartRead(state, /*moves_out=*/false, std::move(done));
  EndTransfers();
  CheckInvariants();
}

void StateCache::StartRead(const StateRef& state, bool moves_out,
                           std::function<void(absl::StatusOr<StateBytes>)> done) {
  Dequeue(state.get(), &on_device_);
  state->in_transfer = true;
  Transfer transfer;
  transfer.state = state;
  transfer.slot = state->slot;
  transfer.read = std::make_shared<ByteVector>(BytesOf(state->shape));
  transfer.moves_out = moves_out;
  transfer.done = std::move(done);
  const absl::StatusOr<Ticket> ticket = model_->StartRead(state->slot, *transfer.read);
  if (ticket.ok()) {
    transfers_[*ticket] = std::move(transfer);
  } else {
    Finish(std::move(transfer), ticket.status());
  }
}

void StateCache::Poll() {
  EndTransfers();
  CheckInvariants();
}

void StateCache::EndTransfers() {
  std::vector<std::pair<Ticket, absl::Status>> ended;
  {
    const MutexLock lock(&ended_->mutex);
    ended.swap(ended_->tickets);
  }
  for (const auto& [ticket, status] : ended) {
    auto transfer = transfers_.extract(ticket);
    if (!transfer.empty()) Finish(std::move(transfer.mapped()), status);
  }
}

void StateCache::Finish(Transfer transfer, const absl::Status& status) {
  status_.Update(status);
  if (transfer.state != nullptr) {
    FinishRead(transfer, status);
  } else {
    FinishWrite(transfer, status);
  }
}

void StateCache::FinishRead(Transfer& transfer, const absl::Status& status) {
  CachedState& state = *transfer.state;
  state.in_transfer = false;
  if (transfer.moves_out) {
    ClearSlot(std::exchange(state.slot, kNoSlot));
    if (state.pinned) {
      state.bytes = transfer.read;
    } else {
      status.ok() ? KeepInHost(&state, transfer.read) : NoLongerCached(&state);
    }
  } else {
    on_device_.insert({state.rank, &state});
  }
  if (!transfer.done) return;
  transfer.done(status.ok() ? absl::StatusOr<StateBytes>(transfer.read) : status);
}

void StateCache::FinishWrite(Transfer& transfer, const absl::Status& status) {
  filling_.erase(transfer.slot);
  if (status.ok() && !transfer.written->empty()) {
    const double rate = absl::ToDoubleSeconds(absl::Now() - transfer.start) /
                        static_cast<double>(transfer.written->size());
    seconds_a_byte_ = seconds_a_byte_ == 0.0 ? rate : 0.75 * seconds_a_byte_ + 0.25 * rate;
  }
  if (transfer.unwanted) return ClearSlot(transfer.slot);
  if (status.ok()) status_.Update(model_->Truncate(transfer.slot, transfer.position));
}

void StateCache::AwaitTransfers() {
  Poll();
  while (transferring() && status_.ok()) {
    {
      const MutexLock lock(&ended_->mutex);
      while (ended_->tickets.empty()) ended_->added.Wait(&ended_->mutex);
    }
    Poll();
  }
}

}  // namespace retnet
