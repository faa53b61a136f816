#include "engine/sessions/store_health.h"

#include <algorithm>
#include <utility>

namespace retnet {

StoreHealth::StoreHealth(StoreListener listener) : listener_(std::move(listener)) {}

// What is wrong with one snapshot does not make the store a bad one.
void StoreHealth::OnRead(const SessionKey& key, const absl::Status& status, absl::Time now) {
  const bool refused = absl::IsDataLoss(status) || absl::IsFailedPrecondition(status) ||
                       absl::IsInvalidArgument(status);
  if (refused) Tell(StoreEvent::Kind::kRefused, status, key);
  const bool answered = refused || absl::IsNotFound(status);
  Observe(StoreEvent::Kind::kReads, &reads_, answered ? absl::OkStatus() : status, now);
}

void StoreHealth::OnWrite(const SessionKey& key, const absl::Status& status, absl::Time now) {
  if (absl::IsCancelled(status)) return;  // it was not tried
  if (absl::IsAborted(status)) OnConflict(key, status);
  const bool answered = status.ok() || absl::IsAborted(status);
  Observe(StoreEvent::Kind::kWrites, &writes_, answered ? absl::OkStatus() : status, now);
  if (!answered) return;
  Observe(StoreEvent::Kind::kReads, &reads_, absl::OkStatus(), now);
  pause_ = kFirstPause;
}

void StoreHealth::OnConflict(const SessionKey& key, const absl::Status& status) {
  Tell(StoreEvent::Kind::kConflict, status, key);
}

void StoreHealth::Observe(StoreEvent::Kind kind, absl::Status* last, const absl::Status& status,
                          absl::Time now) {
  const bool is_news = !status.ok() || !last->ok();
  *last = status;
  if (is_news) Tell(kind, status, SessionKey());
  if (!status.ok()) PlanRetry(now);
}

void StoreHealth::Tell(StoreEvent::Kind kind, const absl::Status& status,
                       const SessionKey& key) const {
  if (listener_ == nullptr) return;
  listener_({.kind = kind, .status = status, .session = key, .sessions_not_stored = not_stored()});
}

void StoreHealth::PlanRetry(absl::Time now) {
  if (next_retry_ < absl::InfiniteFuture()) return;
  next_retry_ = now + pause_;
  pause_ = std::min(2 * pause_, kLongestPause);
}

void StoreHealth::SetNotStored(const SessionKey& key, absl::Time now) {
  not_stored_.insert(key);
  to_retry_.insert(key);
  PlanRetry(now);
}

void StoreHealth::ClearNotStored(const SessionKey& key) {
  not_stored_.erase(key);
  to_retry_.erase(key);
}

void StoreHealth::CountLost(const SessionKey& key, const absl::Status& status) {
  ++lost_;
  Tell(StoreEvent::Kind::kLost, status, key);
}

std::optional<SessionKey> StoreHealth::TakeRetry() {
  if (to_retry_.empty()) return std::nullopt;
  return to_retry_.extract(to_retry_.begin()).value();
}

}  // namespace retnet
