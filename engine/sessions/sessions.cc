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

}  // namespace

absl::Status Sessions::Busy(const SessionKey& key) {
  return absl::AbortedError(
      absl::StrCat("a request is running on session ", key.id, "; one at a time may"));
}

absl::Status Sessions::NoSession(const SessionKey& key) {
  return absl::NotFoundError(absl::StrCat("there is no session ", key.id));
}

absl::Status Sessions::Lost(const SessionKey& key) {
  return absl::AbortedError(absl::StrCat(
      "another server went on with session ", key.id,
      " at the same time, and what was added here is lost; from now on it is that server's"));
}

Sessions::Sessions(const SessionsOptions& options, SnapshotIo* store, StateCache* states, Post post,
                   StoreListener listener)
    : options_(options),
      store_(store),
      state_cache_(states),
      post_(std::move(post)),
      health_(std::move(listener)) {}

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
  // While an answer of the store is overdue nobody waits for another one.
  const bool asks = may_be_old && (session->lost || overdue_checks_ == 0);
  if (session != nullptr && !asks) return then(session);
  if (store_ == nullptr) return then(NoSession(key));
  std::vector<OnFound>& lookups = lookups_[key];
  lookups.push_back(std::move(then));
  if (lookups.size() > 1) return;  // the store is being asked
  session == nullptr ? StartLoad(key) : StartCheck(*session);
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
  session->history.set_cut(snapshot.cut);
  if (snapshot.shape.position == 0) return;
  session->state = {.state = state_cache_->Adopt(snapshot.shape, std::move(snapshot.state)),
                    .tokens = snapshot.shape.position};
}

Sessions::SessionOr Sessions::Add(SessionSpec spec, absl::Time now) {
  if (spec.key.id.empty()) spec.key.id = MadeId();
  if (count() >= options_.max_kept) {
    Session* leaves = Evictable();
    if (leaves == nullptr) {
      return absl::ResourceExhaustedError(
          absl::StrCat("max_kept_sessions = ", options_.max_kept, " sessions are kept",
                       health_.writable() ? "" : " and the snapshot store cannot be written",
                       "; delete some, or give them a TTL"));
    }
    Evict(leaves);
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

// What the store has is found there again. Next best is what it is being given.
Sessions::Session* Sessions::Evictable() {
  constexpr int kMostLookedAt = 256;  // of those that a failing store does not have
  Session* given = nullptr;
  int looked_at = 0;
  for (auto use = by_use_.begin(); use != by_use_.end() && looked_at < kMostLookedAt; ++use) {
    Session* session = Find(use->second);
    if (store_ == nullptr) break;
    if (session->lost || session->stored_version == session->version) return session;
    if (given == nullptr && session->written_version == session->version) given = session;
    ++looked_at;
  }
  return health_.writable() ? given : nullptr;
}

void Sessions::Evict(Session* session) {
  if (!session->lost && session->stored_version != session->version) {
    leaving_[session->serial] = session->version;
  }
  Erase(session);
}

void Sessions::Erase(Session* session) {
  health_.ClearNotStored(session->spec.key);
  Unindex(*session);
  sessions_.erase(SessionKey(session->spec.key));
}

void Sessions::Forget(Session* session) {
  const SessionKey key = session->spec.key;
  Erase(session);
  if (store_ == nullptr) return;
  store_->Delete(key, [this, key](const absl::Status& status) {
    if (status.ok()) return;
    post_([this, key, status] { health_.OnWrite(key, status, absl::Now()); });
  });
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
  absl::Status status = session->lost  // since it began to wait
                            ? Lost(session->spec.key)
                            : CheckNotOlder(session->spec.key, session->history.size(),
                                            sequence->request().session_tokens);
  if (!status.ok()) return Decide(sequence, std::move(status));
  if (sequence->kind() == RequestKind::kScore) {
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
  snapshot.cut = session.history.cut();
  snapshot.imported = session.history.origin() == Origin::kImported;
  return snapshot;
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
    RETNET_DCHECK(session->stored_version <= session->version);
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
