#include "server/calls/transfer_turns.h"

#include <tuple>
#include <utility>

namespace retnet {

TransferTurns::Share& TransferTurns::Share::operator=(Share&& other) noexcept {
  std::swap(turns_, other.turns_);
  std::swap(client_, other.client_);
  std::swap(bytes_, other.bytes_);
  return *this;
}

void TransferTurns::Share::Shrink(int64_t bytes) {
  if (turns_ == nullptr || bytes >= bytes_) return;
  turns_->GiveBack(client_, bytes_ - bytes);
  bytes_ = bytes;
}

TransferTurns::Ticket TransferTurns::Wait(const Tenant& client, int64_t bytes, Begin begin) {
  const MutexLock lock(&mu_);
  const Ticket ticket = ++last_ticket_;
  clients_[KeyOf(client)].waiting.push_back({ticket, bytes, std::move(begin)});
  BeginNext();
  return ticket;
}

void TransferTurns::Withdraw(const Tenant& client, Ticket ticket) {
  const MutexLock lock(&mu_);
  const Key key = KeyOf(client);
  const auto found = clients_.find(key);
  if (found == clients_.end()) return;
  found->second.waiting.remove_if([&](const Waiter& waiter) { return waiter.ticket == ticket; });
  Hold(key, 0);
  BeginNext();
}

void TransferTurns::GiveBack(const Key& client, int64_t bytes) {
  const MutexLock lock(&mu_);
  Hold(client, -bytes);
  BeginNext();
}

void TransferTurns::Hold(const Key& key, int64_t bytes) {
  used_ += bytes;
  Client& client = clients_[key];
  client.held += bytes;
  if (client.held == 0 && client.waiting.empty()) clients_.erase(key);
  if ((principals_[key.first] += bytes) == 0) principals_.erase(key.first);
}

std::map<TransferTurns::Key, TransferTurns::Client>::iterator TransferTurns::Next() {
  auto next = clients_.end();
  std::tuple<int64_t, int64_t, Ticket> least;
  for (auto it = clients_.begin(); it != clients_.end(); ++it) {
    const Client& client = it->second;
    if (client.waiting.empty()) continue;
    const auto principal = principals_.find(it->first.first);
    const std::tuple<int64_t, int64_t, Ticket> rank = {
        principal == principals_.end() ? 0 : principal->second, client.held,
        client.waiting.front().ticket};
    if (next != clients_.end() && rank >= least) continue;
    next = it;
    least = rank;
  }
  return next;
}

void TransferTurns::BeginNext() {
  for (auto next = Next(); next != clients_.end(); next = Next()) {
    const Key key = next->first;
    Waiter& waiter = next->second.waiting.front();
    const int64_t bytes = waiter.bytes;
    if (used_ > 0 && used_ + bytes > bytes_) return;
    worker_.Post([begin = std::move(waiter.begin), share = Share(this, key, bytes)]() mutable {
      begin(std::move(share));
    });
    next->second.waiting.pop_front();
    Hold(key, bytes);
  }
}

int64_t TransferTurns::used() const {
  const MutexLock lock(&mu_);
  return used_;
}

}  // namespace retnet
