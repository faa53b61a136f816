#include "engine/sessions/sessions.h"

#include <algorithm>
#include <random>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "kernels/status_macros.h"

namespace retnet {
namespace {

// 128 bits from the system's source: nobody guesses an id.
std::string MadeId() {
  std::random_device device;
  std::string id;
  for (int i = 0; i < 4; ++i) absl::StrAppend(&id, absl::Hex(device(), absl::kZeroPad8));
  return id;
}

absl::Status NoSession(const SessionKey& key) {
  return absl::NotFoundError(absl::StrCat("there is no session ", key.id));
}

absl::Status Lost(const SessionKey& key) {
  return absl::AbortedError(absl::StrCat(
      "another server went on with session ", key.id,
      " at the same time, and what was added here is lost; from now on it is that server's"));
}

}  // namespace

absl::Status Sessions::Busy(const SessionKey& key) {
  return absl::AbortedError(
      absl::StrCat("a request is running on session ", key.id, "; one at a time may"));
}

Sessions::Sessions(const SessionsOptions& options, StateManager* manager, SequenceOwner* owner)
    : options_(options), state_manager_(manager), owner_(owner) {}

void Sessions::Index(const Session& session) {
  if (!session.idle()) return;
  by_expiry_.emplace(session.expires(), session.spec.key);
  by_use_.emplace(session.last_used, session.spec.key);
}

void Sessions::Unindex(const Session& session) {
  by_expiry_.erase({session.expires(), session.spec.key});
  by_use_.erase({session.last_used, session.spec.key});
}

Sessions::Session* Sessions::Find(const SessionKey& key) {
  const auto found = sessions_.find(key);
  return found == sessions_.end() ? nullptr : found->second.get();
}

void Sessions::With(const SessionKey& key, Continuation then) {
  Session* session = Find(key);
  const bool asks = session != nullptr && session->idle() && (shared() || session->lost);
  if (session != nullptr && !asks) return then(session);
  if (options_.store == nullptr) return then(NoSession(key));
  std::vector<Continuation>& waiting = loading_[key];
  waiting.push_back(std::move(then));
  if (waiting.size() > 1) return;
  if (session == nullptr) return Load(key);
  options_.store->Check(key, session->lineage, [this, key](absl::StatusOr<bool> changed) {
    owner_->Post([this, key, changed = std::move(changed)] { Checked(key, changed); });
  });
}

// A store that cannot be asked keeps nobody waiting: its next write will tell.
void Sessions::Checked(const SessionKey& key, const absl::StatusOr<bool>& changed) {
  Session* session = Find(key);
  if (session == nullptr) return Load(key);  // its time had come
  const bool is_old = changed.ok() && *changed;
  const bool loses = is_old && session->written_version != session->version;
  if (loses && !session->lost) options_.store->CountConflict();
  if (loses || session->lost) {
    Erase(session);
    return Resolve(key, Lost(key));
  }
  if (!is_old) return Resolve(key, session);
  Erase(session);
  Load(key);
}

void Sessions::Load(const SessionKey& key) {
  const auto lineage = std::make_shared<SnapshotLineage>();
  options_.store->Get(key, lineage, [this, key, lineage](absl::StatusOr<Snapshot> snapshot) {
    owner_->Post([this, key, lineage, snapshot = std::move(snapshot)]() mutable {
      Loaded(key, lineage, std::move(snapshot));
    });
  });
}

void Sessions::Loaded(const SessionKey& key, std::shared_ptr<SnapshotLineage> lineage,
                      absl::StatusOr<Snapshot> snapshot) {
  SessionOr session = Find(key);
  if (*session == nullptr && snapshot.ok()) {
    const absl::Duration ttl = snapshot->expires - snapshot->last_used;
    session = Add({.key = key, .ttl = ttl, .labels = snapshot->labels}, absl::Now());
    if (session.ok()) {
      Adopt(std::move(*snapshot), *session);
      (*session)->lineage = std::move(lineage);
      (*session)->read_version = (*session)->written_version = (*session)->version;
    }
  } else if (*session == nullptr) {
    session = absl::IsNotFound(snapshot.status()) ? NoSession(key) : snapshot.status();
  }
  Resolve(key, session);
}

void Sessions::Resolve(const SessionKey& key, SessionOr session) {
  auto waiting = loading_.extract(key);
  if (waiting.empty()) return;  // closed
  for (Continuation& then : waiting.mapped()) {
    // The one before may have deleted it.
    if (session.ok() && Find(key) == nullptr) session = NoSession(key);
    then(session);
  }
}

// A version of the file that the table has not seen must not make the next one look older.
void Sessions::Adopt(Snapshot snapshot, Session* session) {
  session->created = snapshot.created;
  session->version = snapshot.version;
  session->history = TokenHistory(std::move(snapshot.history), std::move(snapshot.class_runs));
  if (snapshot.shape.position == 0) return;
  session->state = {
      .state = state_manager_->state_cache().Adopt(snapshot.shape, std::move(snapshot.state)),
      .tokens = snapshot.shape.position};
}

Sessions::SessionOr Sessions::Add(SessionSpec spec, absl::Time now) {
  if (spec.key.id.empty()) spec.key.id = MadeId();
  if (count() >= options_.max_kept) {
    // What the store has is found there again.
    Session* oldest = by_use_.empty() ? nullptr : Find(by_use_.begin()->second);
    if (oldest == nullptr || options_.store == nullptr ||
        (oldest->written_version != oldest->version && !oldest->lost)) {
      return absl::ResourceExhaustedError(
          absl::StrCat("max_kept_sessions = ", options_.max_kept,
                       " sessions are kept; delete some, or give them a TTL"));
    }
    Erase(oldest);
  }
  auto session = std::make_unique<Session>();
  Session* added = session.get();
  added->spec = std::move(spec);
  added->serial = ++last_serial_;
  added->created = added->last_used = now;
  Index(*added);
  sessions_[added->spec.key] = std::move(session);
  return added;
}

void Sessions::Erase(Session* session) {
  Unindex(*session);
  sessions_.erase(SessionKey(session->spec.key));
}

// From the store, too.
void Sessions::Forget(Session* session) {
  const SessionKey key = session->spec.key;
  Erase(session);
  if (options_.store != nullptr) options_.store->Delete(key, [](const absl::Status&) {});
}

void Sessions::Attach(Sequence* sequence, absl::Time now) {
  if (!sequence->has_session()) return owner_->Ready(sequence);
  const SessionKey key = sequence->request().session;
  With(key, [this, id = sequence->id(), now](SessionOr session) {
    Sequence* sequence = owner_->Find(id);
    if (sequence == nullptr) return;
    if (!session.ok()) return owner_->Fail(sequence, session.status());
    if ((*session)->running == nullptr) return Run(*session, sequence);
    if (!sequence->request().wait_for_session) {
      return owner_->Fail(sequence, Busy((*session)->spec.key));
    }
    (*session)->waiting.push_back(sequence);
  });
}

void Sessions::Run(Session* session, Sequence* sequence) {
  absl::Status status;
  if (session->lost) {  // since it began to wait
    status = Lost(session->spec.key);
  } else if (sequence->kind() == RequestKind::kScore) {
    TokenHistory history = session->history;
    StatePrefix state = session->state;
    status = sequence->Continue(&history, &state);
  } else {
    status = sequence->Continue(&session->history, &session->state);
    if (status.ok()) {
      Unindex(*session);
      session->running = sequence;
    }
  }
  if (!status.ok()) return owner_->Fail(sequence, std::move(status));
  owner_->Ready(sequence);
}

void Sessions::RunNext(Session* session) {
  const SessionKey key = session->spec.key;
  while (session != nullptr && session->running == nullptr && !session->waiting.empty()) {
    Sequence* next = session->waiting.front();
    session->waiting.pop_front();
    Run(session, next);
    session = Find(key);
  }
  if (session != nullptr) Index(*session);
}

void Sessions::Detach(Sequence* sequence, absl::Time now) {
  Session* session = sequence->has_session() ? Find(sequence->request().session) : nullptr;
  if (session == nullptr || session->running != sequence) {
    state_manager_->Retire(sequence, /*keep=*/false);
    if (session != nullptr) std::erase(session->waiting, sequence);
    return;
  }
  const bool keep = sequence->request().keep;
  session->state = state_manager_->Retire(sequence, keep);
  session->history = sequence->TakeHistory();
  session->running = nullptr;
  if (keep) {
    sequence->set_session_tokens(session->history.size());
    Changed(session, now);
    return RunNext(session);
  }
  std::deque<Sequence*> waiting = std::move(session->waiting);
  const SessionKey key = session->spec.key;
  Forget(session);
  for (Sequence* other : waiting) owner_->Fail(other, NoSession(key));
}

// Not indexed before: the caller has unindexed it.
void Sessions::Changed(Session* session, absl::Time now) {
  ++session->version;
  session->last_used = now;
  Index(*session);
  Write(session);
}

Snapshot Sessions::SnapshotOf(const Session& session) const {
  const auto tokens = session.history.tokens();
  const auto class_runs = session.history.class_runs();
  Snapshot snapshot;
  snapshot.key = session.spec.key;
  snapshot.labels = session.spec.labels;
  snapshot.created = session.created;
  snapshot.last_used = session.last_used;
  snapshot.expires = session.expires();
  snapshot.version = session.version;
  snapshot.history.assign(tokens.begin(), tokens.end());
  snapshot.class_runs.assign(class_runs.begin(), class_runs.end());
  return snapshot;
}

// What is written later replaces what still waits. A read of the state may end after the session
// has changed again, or is gone: then it is not what the store should have.
void Sessions::Write(Session* session) {
  if (options_.store == nullptr || session->lost) return;
  if (session->read_version == session->version) return;
  session->read_version = session->version;
  ReadInto(*session, [this, serial = session->serial](Snapshot snapshot) {
    Session* session = Find(snapshot.key);
    if (session == nullptr || session->serial != serial) return;
    if (session->version != snapshot.version) return;
    session->written_version = snapshot.version;
    const SessionKey key = snapshot.key;
    const auto done = [this, key, serial](const absl::Status& status) {
      if (status.ok()) return;
      owner_->Post([this, key, serial, lost = absl::IsAborted(status)] {
        Session* session = Find(key);
        if (session == nullptr || session->serial != serial) return;
        session->read_version = session->written_version = 0;  // WriteAll tries again
        session->lost = session->lost || lost;
      });
    };
    options_.store->Put(std::move(snapshot), session->lineage, done);
  });
}

// A state that has been evicted is left out: whoever restores the session computes it again.
void Sessions::ReadInto(const Session& session, std::function<void(Snapshot)> then) {
  Snapshot snapshot = SnapshotOf(session);
  if (!session.state.there()) return then(std::move(snapshot));
  Model::StateShape shape = session.state.state->shape;
  shape.position = session.state.tokens;
  state_manager_->state_cache().Read(
      session.state.state,
      [snapshot = std::move(snapshot), shape, cut = state_manager_->StateBytes(shape),
       then = std::move(then)](absl::StatusOr<StateBytes> bytes) mutable {
        if (bytes.ok()) {
          snapshot.shape = shape;
          snapshot.state = *bytes;
          if (static_cast<int64_t>((*bytes)->size()) > cut) {  // rewound: its newest tokens go
            snapshot.state =
                std::make_shared<ByteVector>((*bytes)->begin(), (*bytes)->begin() + cut);
          }
        }
        then(std::move(snapshot));
      });
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

void Sessions::Close() {
  for (auto& [key, waiting] : std::exchange(loading_, {})) {
    for (Continuation& then : waiting) then(absl::CancelledError("the engine is closing"));
  }
  for (const auto& [number, reply] : std::exchange(listings_, {})) {
    reply(absl::CancelledError("the engine is closing"));
  }
}

void Sessions::Expire(absl::Time now) {
  while (!by_expiry_.empty() && by_expiry_.begin()->first <= now) {
    Session* session = Find(by_expiry_.begin()->second);
    // Another server may have gone on with what a shared store has; there it expires by itself.
    shared() ? Erase(session) : Forget(session);
  }
}

absl::Time Sessions::next_expiry() const {
  return by_expiry_.empty() ? absl::InfiniteFuture() : by_expiry_.begin()->first;
}

}  // namespace retnet
