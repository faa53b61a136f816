// How sessions reach the snapshot store, and come back.
#include <memory>
#include <utility>

#include "absl/time/clock.h"
#include "engine/sessions/sessions.h"

namespace retnet {

void Sessions::StartCheck(const Session& session) {
  const SessionKey key = session.spec.key;
  store_->Check(key, session.lineage, [this, key](absl::StatusOr<bool> newer) {
    post_([this, key, newer = std::move(newer)] { FinishCheck(key, newer); });
  });
}

// A store that cannot be asked keeps nobody waiting: its next write will tell.
void Sessions::FinishCheck(const SessionKey& key, const absl::StatusOr<bool>& newer) {
  Session* session = Find(key);
  if (session == nullptr) return StartLoad(key);  // it has expired meanwhile
  const bool is_old = newer.ok() && *newer;
  const bool loses = is_old && session->written_version != session->version;
  if (loses && !session->lost) store_->CountConflict();
  if (loses || session->lost) {
    Erase(session);
    return AnswerLookups(key, Lost(key));
  }
  if (!is_old) return AnswerLookups(key, NoSession(key));
  Erase(session);
  StartLoad(key);
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
  if (Find(key) != nullptr || absl::IsNotFound(snapshot.status())) {
    return AnswerLookups(key, NoSession(key));
  }
  if (!snapshot.ok()) return AnswerLookups(key, snapshot.status());
  const absl::Duration ttl = snapshot->expires - snapshot->last_used;
  const SessionOr session = Add({.key = key, .ttl = ttl, .labels = snapshot->labels}, absl::Now());
  if (session.ok()) {
    TakeSnapshot(*std::move(snapshot), *session);
    (*session)->lineage = std::move(lineage);
    (*session)->read_version = (*session)->written_version = (*session)->version;
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
  session->written_version = snapshot.version;
  store_->Put(std::move(snapshot), session->lineage, [this, key, serial](absl::Status status) {
    if (status.ok()) return;
    post_([this, key, serial, status = std::move(status)] { PutFailed(key, serial, status); });
  });
}

void Sessions::PutFailed(const SessionKey& key, uint64_t serial, const absl::Status& status) {
  Session* session = Find(key, serial);
  if (session == nullptr) return;
  session->read_version = session->written_version = 0;  // WriteAll tries again
  session->lost = session->lost || absl::IsAborted(status);
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

}  // namespace retnet
