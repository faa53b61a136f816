// How sessions reach the snapshot store, and come back.
#include <algorithm>
#include <memory>
#include <optional>
#include <utility>

#include "absl/time/clock.h"
#include "engine/sessions/sessions.h"

namespace retnet {

void Sessions::StartCheck(const Session& session) {
  const SessionKey key = session.spec.key;
  const uint64_t number = ++last_check_;
  checks_[key] = number;
  patience_.push_back({absl::Now() + options_.check_patience, key, number});
  store_->Check(key, session.lineage, [this, key, number](absl::StatusOr<bool> newer) {
    post_([this, key, number, newer = std::move(newer)] { FinishCheck(key, number, newer); });
  });
}

void Sessions::FinishCheck(const SessionKey& key, uint64_t check,
                           const absl::StatusOr<bool>& newer) {
  health_.OnRead(key, newer.status(), absl::Now());
  const auto waits = checks_.find(key);
  if (waits == checks_.end() || waits->second != check) {
    // Too late: the session may have gone on since. If another server has, the next write tells.
    --overdue_checks_;
    return;
  }
  checks_.erase(waits);
  GoOnAfterCheck(key, newer);
}

// A store that cannot be asked keeps nobody waiting: its next write will tell.
void Sessions::GoOnAfterCheck(const SessionKey& key, const absl::StatusOr<bool>& newer) {
  Session* session = Find(key);
  if (session == nullptr) return StartLoad(key);  // it has expired meanwhile
  const bool is_old = newer.ok() && *newer;
  const bool loses = is_old && session->written_version != session->version;
  if (loses && !session->lost) {
    store_->CountConflict();
    health_.OnConflict(key, Lost(key));
  }
  if (loses || session->lost) {
    Erase(session);
    return AnswerLookups(key, Lost(key));
  }
  if (!is_old) return AnswerLookups(key, NoSession(key));
  Erase(session);
  StartLoad(key);
}

void Sessions::RunTimers(absl::Time now) {
  while (!patience_.empty() && patience_.front().until <= now) {
    const PendingCheck late = std::move(patience_.front());
    patience_.pop_front();
    const auto waits = checks_.find(late.key);
    if (waits == checks_.end() || waits->second != late.number) continue;  // answered
    checks_.erase(waits);
    ++overdue_checks_;
    GoOnAfterCheck(late.key, absl::DeadlineExceededError("the store has not answered in time"));
  }
  if (health_.next_retry() > now) return;
  health_.BeginRetry();
  if (!health_.readable() && shared()) ProbeStore();
  constexpr int kMostAtOnce = 64;  // each reads a state
  RetryWrites(health_.writable() ? kMostAtOnce : 1);
}

absl::Time Sessions::next_timer() const {
  return std::min(health_.next_retry(),
                  patience_.empty() ? absl::InfiniteFuture() : patience_.front().until);
}

void Sessions::ProbeStore() {
  store_->Check(SessionKey(), std::make_shared<SnapshotLineage>(),
                [this](const absl::StatusOr<bool>& answer) {
                  post_([this, status = answer.status()] {
                    health_.OnRead(SessionKey(), status, absl::Now());
                  });
                });
}

void Sessions::StartLoad(const SessionKey& key) {
  const auto lineage = std::make_shared<SnapshotLineage>();
  store_->Get(key, lineage, [this, key, lineage](absl::StatusOr<Snapshot> snapshot) {
    post_([this, key, lineage, snapshot = std::move(snapshot)]() mutable {
      FinishLoad(key, lineage, std::move(snapshot));
    });
  });
}

void Sessions::FinishLoad(const SessionKey& key, std::shared_ptr<SnapshotLineage> lineage,
                          absl::StatusOr<Snapshot> snapshot) {
  health_.OnRead(key, snapshot.status(), absl::Now());
  if (Find(key) != nullptr || absl::IsNotFound(snapshot.status())) {
    return AnswerLookups(key, NoSession(key));
  }
  if (!snapshot.ok()) return AnswerLookups(key, snapshot.status());
  const absl::Duration ttl = snapshot->expires - snapshot->last_used;
  const SessionOr session = Add({.key = key, .ttl = ttl, .labels = snapshot->labels}, absl::Now());
  if (session.ok()) {
    const Origin origin = snapshot->imported    ? Origin::kImported
                          : snapshot->authentic ? Origin::kComputed
                                                : Origin::kStored;
    TakeSnapshot(*std::move(snapshot), origin, *session);
    (*session)->lineage = std::move(lineage);
    (*session)->read_version = (*session)->written_version = (*session)->stored_version =
        (*session)->version;
  }
  AnswerLookups(key, session.ok() ? NoSession(key) : session.status());
}

void Sessions::Write(Session* session) {
  if (store_ == nullptr || session->lost) return;
  if (session->read_version == session->version) return;
  session->read_version = session->version;
  ReadInto(*session, [this, serial = session->serial](Snapshot snapshot) {
    PutInStore(std::move(snapshot), serial);
  });
}

// The session may have changed again, or be gone, since the read of its state began: then this is
// not what the store should have.
void Sessions::PutInStore(Snapshot snapshot, uint64_t serial) {
  const SessionKey key = snapshot.key;
  Session* session = Find(key, serial);
  if (session == nullptr || session->version != snapshot.version) return;
  const uint64_t version = snapshot.version;
  session->read_version = session->written_version = version;
  store_->Put(std::move(snapshot), session->lineage,
              [this, key, serial, version](absl::Status status) {
                post_([this, key, serial, version, status = std::move(status)] {
                  FinishPut(key, serial, version, status);
                });
              });
}

void Sessions::FinishPut(const SessionKey& key, uint64_t serial, uint64_t version,
                         const absl::Status& status) {
  const absl::Time now = absl::Now();
  const bool conflict = absl::IsAborted(status);
  if (Session* session = Find(key, serial); session == nullptr) {
    const auto leaving = leaving_.find(serial);
    if (leaving != leaving_.end() && leaving->second == version) {
      leaving_.erase(leaving);
      if (!status.ok() && !conflict) health_.CountLost(key, status);
    }
  } else if (status.ok()) {
    session->stored_version = std::max(session->stored_version, version);
    health_.ClearNotStored(key);
  } else if (conflict || version >= session->read_version) {  // else a newer one is on its way
    session->read_version = session->written_version = 0;     // RetryWrites and WriteAll try again
    session->lost = session->lost || conflict;
    conflict ? health_.ClearNotStored(key) : health_.SetNotStored(key, now);
  }
  health_.OnWrite(key, status, now);
  if (status.ok()) RetryWrites(/*most=*/2);
  CheckInvariants();
}

void Sessions::RetryWrites(int most) {
  for (; most > 0; --most) {
    const std::optional<SessionKey> key = health_.TakeRetry();
    if (!key) return;
    Session* session = Find(*key);
    // One that runs is written when it ends.
    if (session != nullptr && session->running == nullptr) Write(session);
  }
}

int32_t Sessions::WriteAll() {
  int32_t started = 0;
  for (const auto& [key, session] : sessions_) {
    if (session->running != nullptr || session->lost) continue;
    if (session->written_version == session->version) continue;
    Write(session.get());
    ++started;
  }
  return started;
}

void Sessions::CountNotStored() {
  if (store_ == nullptr) return;
  for (const auto& [key, session] : sessions_) {
    if (session->lost || session->stored_version == session->version) continue;
    health_.SetNotStored(key, absl::Now());
  }
  const absl::Status unknown = absl::DeadlineExceededError("its write has not ended");
  for (; !leaving_.empty(); leaving_.erase(leaving_.begin())) {
    health_.CountLost(SessionKey(), unknown);
  }
}

}  // namespace retnet
