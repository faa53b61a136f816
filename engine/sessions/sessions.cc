#include "engine/sessions/sessions.h"

#include <algorithm>
#include <random>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "kernels/dcheck.h"

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

Sessions::Sessions(const SessionsOptions& options, SnapshotIo* store, StateCache* states, Post post)
    : options_(options), store_(store), state_cache_(states), post_(std::move(post)) {}

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

Sessions::Session* Sessions::Find(const SessionKey& key, uint64_t serial) {
  Session* session = Find(key);
  return session != nullptr && session->serial == serial ? session : nullptr;
}

void Sessions::Lookup(const SessionKey& key, OnFound then) {
  Session* session = Find(key);
  const bool may_be_old = session != nullptr && session->idle() && (shared() || session->lost);
  if (session != nullptr && !may_be_old) return then(session);
  if (store_ == nullptr) return then(NoSession(key));
  std::vector<OnFound>& lookups = lookups_[key];
  lookups.push_back(std::move(then));
  if (lookups.size() > 1) return;  // the store is being asked
  session == nullptr ? StartLoad(key) : StartCheck(*session);
}

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
    const Origin origin = snapshot->imported    ? Origin::kImported
                          : snapshot->authentic ? Origin::kComputed
                                                : Origin::kStored;
    TakeSnapshot(*std::move(snapshot), origin, *session);
    (*session)->lineage = std::move(lineage);
    (*session)->read_version = (*session)->written_version = (*session)->version;
  }
  AnswerLookups(key, session.ok() ? NoSession(key) : session.status());
}

void Sessions::AnswerLookups(const SessionKey& key, const absl::Status& error) {
  auto lookups = lookups_.extract(key);
  if (lookups.empty()) return;  // closed
  for (OnFound& then : lookups.mapped()) {
    // The one before may have made or deleted it.
    Session* session = Find(key);
    session != nullptr ? then(session) : then(error);
  }
  CheckInvariants();
}

// A version of the file that the table has not seen must not make the next one look older.
void Sessions::TakeSnapshot(Snapshot snapshot, Origin origin, Session* session) {
  session->created = snapshot.created;
  session->version = snapshot.version;
  session->history = TokenHistory(std::move(snapshot.history), std::move(snapshot.class_runs));
  session->history.set_origin(origin);
  if (snapshot.shape.position == 0) return;
  session->state = {.state = state_cache_->Adopt(snapshot.shape, std::move(snapshot.state)),
                    .tokens = snapshot.shape.position};
}

Sessions::SessionOr Sessions::Add(SessionSpec spec, absl::Time now) {
  if (spec.key.id.empty()) spec.key.id = MadeId();
  if (count() >= options_.max_kept) {
    // What the store has is found there again.
    Session* oldest = by_use_.empty() ? nullptr : Find(by_use_.begin()->second);
    if (oldest == nullptr || store_ == nullptr ||
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

void Sessions::Forget(Session* session) {
  const SessionKey key = session->spec.key;
  Erase(session);
  if (store_ != nullptr) store_->Delete(key, [](const absl::Status&) {});
}

void Sessions::Decide(Sequence* sequence, absl::Status status) {
  outcomes_.push_back({.sequence = sequence, .status = std::move(status)});
}

std::optional<Sessions::Outcome> Sessions::NextOutcome() {
  if (outcomes_.empty()) return std::nullopt;
  Outcome outcome = std::move(outcomes_.front());
  outcomes_.pop_front();
  return outcome;
}

void Sessions::Attach(Sequence* sequence) {
  arriving_.emplace(sequence->id(), sequence);
  const SessionKey key = sequence->request().session;
  Lookup(key, [this, key, id = sequence->id()](SessionOr session) {
    const auto arriving = arriving_.extract(id);
    if (arriving.empty()) return;  // it has ended meanwhile
    Sequence* sequence = arriving.mapped();
    if (!session.ok()) return Decide(sequence, session.status());
    if ((*session)->running == nullptr) return Run(*session, sequence);
    if (!sequence->request().wait_for_session) return Decide(sequence, Busy(key));
    (*session)->waiting.push_back(sequence);
  });
  CheckInvariants();
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
  Decide(sequence, std::move(status));
}

void Sessions::RunNext(Session* session) {
  while (session->running == nullptr && !session->waiting.empty()) {
    Sequence* next = session->waiting.front();
    session->waiting.pop_front();
    Run(session, next);
  }
  Index(*session);
}

bool Sessions::WillKeepStateOf(const Sequence& sequence) const {
  const auto found = sessions_.find(sequence.request().session);
  return found != sessions_.end() && found->second->running == &sequence && sequence.request().keep;
}

void Sessions::Detach(Sequence* sequence, StatePrefix state, absl::Time now) {
  arriving_.erase(sequence->id());
  std::erase_if(outcomes_, [sequence](const Outcome& outcome) {
    return outcome.sequence == sequence;  // it ends before it was asked for
  });
  Session* session = Find(sequence->request().session);
  if (session != nullptr && session->running == sequence) {
    TakeBack(session, sequence, std::move(state), now);
  } else if (session != nullptr) {
    std::erase(session->waiting, sequence);
  }
  CheckInvariants();
}

void Sessions::TakeBack(Session* session, Sequence* sequence, StatePrefix state, absl::Time now) {
  session->running = nullptr;
  if (sequence->request().keep) {
    session->history = sequence->TakeHistory();
    // One that ended before it had a slot may have been about to go on from a cached prefix, which
    // has seen tokens of a prompt that the session does not keep.
    state.tokens = std::min(state.tokens, std::max(session->history.size() - 1, 0));
    if (state.there()) session->state = std::move(state);
    sequence->set_session_tokens(session->history.size());
    Changed(session, now);
    return RunNext(session);
  }
  const std::deque<Sequence*> waiting = std::move(session->waiting);
  Forget(session);
  for (Sequence* other : waiting) Decide(other, NoSession(other->request().session));
}

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
  snapshot.imported = session.history.origin() == Origin::kImported;
  return snapshot;
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

// A state that has been evicted is left out: whoever restores the session computes it again.
void Sessions::ReadInto(const Session& session, std::function<void(Snapshot)> then) {
  Snapshot snapshot = SnapshotOf(session);
  if (!session.state.there()) return then(std::move(snapshot));
  Model::StateShape shape = session.state.state->shape;
  shape.position = session.state.tokens;
  state_cache_->Read(
      session.state.state,
      [snapshot = std::move(snapshot), shape, cut = state_cache_->BytesOf(shape),
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
  const absl::Status closing = absl::CancelledError("the engine is closing");
  for (auto& [key, lookups] : std::exchange(lookups_, {})) {
    for (OnFound& then : lookups) then(closing);
  }
  for (const auto& [number, reply] : std::exchange(listings_, {})) reply(closing);
}

void Sessions::Expire(absl::Time now) {
  while (!by_expiry_.empty() && by_expiry_.begin()->first <= now) {
    Session* session = Find(by_expiry_.begin()->second);
    // Another server may have gone on with what a shared store has; there it expires by itself.
    shared() ? Erase(session) : Forget(session);
  }
  CheckInvariants();
}

absl::Time Sessions::next_expiry() const {
  return by_expiry_.empty() ? absl::InfiniteFuture() : by_expiry_.begin()->first;
}

void Sessions::CheckInvariants() const {
  if (!kDchecks) return;
  size_t idle = 0;
  for (const auto& [key, session] : sessions_) {
    RETNET_DCHECK(key == session->spec.key);
    RETNET_DCHECK(session->running != nullptr || session->waiting.empty());
    RETNET_DCHECK(std::find(session->waiting.begin(), session->waiting.end(), session->running) ==
                  session->waiting.end());
    RETNET_DCHECK(session->written_version <= session->read_version);
    RETNET_DCHECK(session->read_version <= session->version);
    if (!session->idle()) continue;
    ++idle;
    RETNET_DCHECK(by_expiry_.contains({session->expires(), key}));
    RETNET_DCHECK(by_use_.contains({session->last_used, key}));
    RETNET_DCHECK(session->state.tokens <= std::max(session->history.size() - 1, 0));
  }
  RETNET_DCHECK(by_expiry_.size() == idle && by_use_.size() == idle);
}

}  // namespace retnet
