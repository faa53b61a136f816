// The sessions of all owners: what they hold between requests, which request may run on them, and
// how they reach the snapshot store and come back.
#ifndef RETNET_ENGINE_SESSIONS_SESSIONS_H_
#define RETNET_ENGINE_SESSIONS_SESSIONS_H_

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "engine/options.h"
#include "engine/scheduling/sequence.h"
#include "engine/session.h"
#include "engine/sessions/store_health.h"
#include "engine/snapshots/snapshot.h"
#include "engine/snapshots/snapshot_io.h"
#include "engine/states/state_cache.h"
#include "engine/states/token_history.h"

namespace retnet {

// The states of a session's key, and the calls that move it from one to another:
//
//               ┌──── Create, Fork, Import ────┐
//               │                              ▼       Attach
//   unknown ────┴─ Lookup* ─► loading ───────► idle ◄───────────► busy ──┐ Detach, and a
//    ▲    ▲                    │     ▲         │ ▲ │   Detach      ▲ └───┘ request waits
//    │    └─ not in the store ─┘     │         │ │ │               │
//    │                               │         │ │ └─ Lookup** ─┐  │
//    │                               │         │ │              ▼  │
//    │                               └─ newer ─│─┴─ no news ─ checking
//    └───────── Delete, Expire, make room* ────┘
//
//   *   only with a snapshot store
//   **  only with one that other servers write to as well: it is asked for a newer version first,
//       and has SessionsOptions::check_patience to answer
//
// unknown: not in memory. busy: one generation or prefill runs on it and holds its history and
// state; others may wait for their turn. A score reads an idle session and leaves it idle. A
// request with keep = false deletes its session at Detach: busy → unknown. Calls on a key that is
// loading or being checked wait in the order of arrival; each finds what the calls before it left.
//
// Owned by the Executor and used by its thread alone. Knows nothing of its owner: what has become
// of the sequences given to Attach is asked with NextOutcome, and `post` brings the store's answers
// to this thread. Sessions hold references to their states; StateCache owns these.
class Sessions {
 public:
  // Runs a task on the thread that uses Sessions, later. Called from any thread.
  using Post = std::function<void(std::function<void()>)>;

  // A sequence that was attached. OK: it has its session's history and may be scheduled. Otherwise
  // it is to be ended with the status.
  struct Outcome {
    Sequence* sequence = nullptr;
    absl::Status status;
  };

  // `store` and `listener` may be null. `store`, `states` and `post` must work until the last call
  // here and until every task that was posted has run or been dropped.
  Sessions(const SessionsOptions& options, SnapshotIo* store, StateCache* states, Post post,
           StoreListener listener = nullptr);

  // Begins a request that has a session: NextOutcome names it when its turn has come or it cannot
  // run. ABORTED when another request runs on the session and it does not wait; NOT_FOUND.
  void Attach(Sequence* sequence);
  // The oldest outcome not asked for yet.
  std::optional<Outcome> NextOutcome();
  // Whether the session will keep the state of this sequence, which runs on it, when it is
  // detached.
  bool WillKeepStateOf(const Sequence& sequence) const;
  // Ends what Attach began, in whatever state it is. A session that the sequence ran on takes back
  // its history and `state`, unless the request does not keep it; the next request gets its turn.
  void Detach(Sequence* sequence, StatePrefix state, absl::Time now);

  // As Engine's calls of these names.
  void Create(const SessionSpec& spec, absl::Time now, const Reply<SessionInfo>& reply);
  void Get(const SessionKey& key, const Reply<SessionInfo>& reply);
  void List(const std::string& owner, const std::string& after, int32_t limit,
            const Reply<std::vector<SessionInfo>>& reply);
  void Fork(const SessionKey& key, const std::vector<std::string>& ids, absl::Time now,
            const Reply<std::vector<SessionInfo>>& reply);
  void Rewind(const SessionKey& key, const retnet::Rewind& rewind, absl::Time now,
              const Reply<SessionInfo>& reply);
  void Delete(const SessionKey& key, const Reply<SessionInfo>& reply);
  void Export(const SessionKey& key, const Reply<Snapshot>& reply);
  void Import(const SessionSpec& spec, Snapshot snapshot, absl::Time now,
              const Reply<SessionInfo>& reply);

  // Forgets idle sessions that have not been used for their TTL.
  void Expire(absl::Time now);
  // When Expire has something to do next; InfiniteFuture: never.
  absl::Time next_expiry() const;
  // Tries again what the store has refused, and goes on without the answers of a slow store.
  void RunTimers(absl::Time now);
  // When RunTimers has something to do next; InfiniteFuture: never.
  absl::Time next_timer() const;
  // Reads from the store, so that health() tells whether that works.
  void ProbeStore();
  // Starts to write the sessions that the store does not have yet. Returns their number.
  int32_t WriteAll();
  // Counts as not stored, in health(), every session that the store is not known to have. To be
  // called when nothing is written any more.
  void CountNotStored();
  const StoreHealth& health() const { return health_; }

  // Answers calls that wait for the store with CANCELLED. The last call.
  void Close();

  int32_t count() const { return static_cast<int32_t>(sessions_.size()); }

 private:
  struct Session {
    SessionSpec spec;
    absl::Time created;
    absl::Time last_used;
    uint64_t serial = 0;        // of this object: no two have the same, not even of one key
    uint64_t version = 0;       // of the history: rises with each change
    uint64_t read_version = 0;  // the newest whose state is being read, or has been, to be written
    uint64_t written_version = 0;  // the newest that the store has or is being given
    uint64_t stored_version = 0;   // the newest that the store is known to have
    std::shared_ptr<SnapshotLineage> lineage = std::make_shared<SnapshotLineage>();
    // Another server went on with the session, and the store refused these turns: the next call on
    // it is told so, and finds the other server's version from then on.
    bool lost = false;
    TokenHistory history;           // empty while busy: the running sequence has it
    StatePrefix state;              // of some of the history, or none; none while busy
    Sequence* running = nullptr;    // not null: busy
    std::deque<Sequence*> waiting;  // for their turn, the first to come first

    bool idle() const { return running == nullptr && waiting.empty(); }
    absl::Time expires() const { return last_used + spec.ttl; }
  };
  using SessionOr = absl::StatusOr<Session*>;
  using OnFound = std::function<void(SessionOr)>;
  using OnStatus = std::function<void(absl::Status)>;

  // --- From a key to its session (sessions.cc; what asks the store is in session_store.cc).
  // Calls `then` with the session, at once if it is in memory and up to date, else when the store
  // has answered; or with why there is none.
  void Lookup(const SessionKey& key, OnFound then);
  // Asks the store whether it has a newer version of an idle session.
  void StartCheck(const Session& session);
  void FinishCheck(const SessionKey& key, uint64_t check, const absl::StatusOr<bool>& newer);
  // With an error for `newer`, the session goes on as it is in memory.
  void GoOnAfterCheck(const SessionKey& key, const absl::StatusOr<bool>& newer);
  // Reads a session that is not in memory from the store.
  void StartLoad(const SessionKey& key);
  void FinishLoad(const SessionKey& key, std::shared_ptr<SnapshotLineage> lineage,
                  absl::StatusOr<Snapshot> snapshot);
  // Calls what waits for the key, each with the session that is there by then or with `error`.
  void AnswerLookups(const SessionKey& key, const absl::Status& error);
  static absl::Status NoSession(const SessionKey& key);
  static absl::Status Lost(const SessionKey& key);
  static absl::Status Busy(const SessionKey& key);
  bool shared() const { return store_ != nullptr && store_->shared(); }
  Session* Find(const SessionKey& key);
  // Null when the session is gone, though another one may have its key.
  Session* Find(const SessionKey& key, uint64_t serial);

  // --- The table.
  SessionOr Add(SessionSpec spec, absl::Time now);
  // The session to leave memory for another one; nullptr: none may.
  Session* Evictable();
  void Evict(Session* session);
  void Erase(Session* session);
  // From the store, too.
  void Forget(Session* session);
  // To be called around every change of what the indices are ordered by: idle(), last_used, ttl.
  void Index(const Session& session);
  void Unindex(const Session& session);
  // The history has changed: a new version, which is written. The caller has called Unindex.
  void Changed(Session* session, absl::Time now);
  void TakeSnapshot(Snapshot snapshot, Origin origin, Session* session);

  // --- Requests.
  void Decide(Sequence* sequence, absl::Status status);
  void Run(Session* session, Sequence* sequence);
  void RunNext(Session* session);
  // The end of the sequence that ran on the session.
  void TakeBack(Session* session, Sequence* sequence, StatePrefix state, absl::Time now);

  // --- To the store (session_store.cc; the content of a snapshot is in sessions.cc).
  void Write(Session* session);
  void PutInStore(Snapshot snapshot, uint64_t serial);
  void FinishPut(const SessionKey& key, uint64_t serial, uint64_t version,
                 const absl::Status& status);
  // Writes sessions again whose last write failed: at most `most` of them.
  void RetryWrites(int most);
  Snapshot SnapshotOf(const Session& session) const;
  // Calls `then` with the session and its state's bytes, at once or when they have been read.
  void ReadInto(const Session& session, std::function<void(Snapshot)> then);

  // --- What the clients' calls share (session_calls.cc).
  SessionInfo InfoOf(const Session& session) const;
  // Replies with what `call` returns for the session, or with why there is none.
  template <typename T>
  void Answer(const SessionKey& key, const Reply<T>& reply,
              std::function<absl::StatusOr<T>(Session*)> call);
  // Adds a session that `begin`, if it is not null, fills; and replies with it.
  void AddNew(const SessionSpec& spec, absl::Time now, const std::function<void(Session*)>& begin,
              const Reply<SessionInfo>& reply);
  // Calls `then` with OK when no session has one of the ids, in memory or in the store. Empty ids
  // are left out.
  void CheckUnused(const std::string& owner, const std::vector<std::string>& ids, OnStatus then);
  // The same of memory alone.
  absl::Status UnusedHere(const std::string& owner, const std::vector<std::string>& ids);
  absl::StatusOr<std::vector<SessionInfo>> Forked(const Session& parent,
                                                  const std::vector<std::string>& ids,
                                                  absl::Time now);
  absl::StatusOr<SessionInfo> Rewound(Session* session, const retnet::Rewind& rewind,
                                      absl::Time now);

  // The two orders hold exactly the idle sessions, under their own times. Sequences wait only for a
  // session that is busy. A state has not seen the pending token. Versions are written after they
  // were read. At the end of every public method that changes something; O(sessions).
  void CheckInvariants() const;

  const SessionsOptions options_;
  SnapshotIo* const store_;  // null: none
  StateCache* const state_cache_;
  const Post post_;
  StoreHealth health_;
  // Sessions that left memory while they were written: serial and version.
  absl::flat_hash_map<uint64_t, uint64_t> leaving_;
  uint64_t last_serial_ = 0;
  std::map<SessionKey, std::unique_ptr<Session>> sessions_;
  // The idle sessions, in the order in which they expire, and in which they were used last.
  std::set<std::pair<absl::Time, SessionKey>> by_expiry_;
  std::set<std::pair<absl::Time, SessionKey>> by_use_;
  // What waits for the store's answer: calls on a key, and listings by number.
  std::map<SessionKey, std::vector<OnFound>> lookups_;
  // Questions whether the store has a newer version: by key, those whose answer is waited for.
  struct PendingCheck {
    absl::Time until;  // then the session goes on without the answer
    SessionKey key;
    uint64_t number;
  };
  uint64_t last_check_ = 0;
  std::map<SessionKey, uint64_t> checks_;
  std::deque<PendingCheck> patience_;  // in the order of time; some are answered already
  int32_t overdue_checks_ = 0;         // not waited for any more, and not answered
  uint64_t last_listing_ = 0;
  std::map<uint64_t, Reply<std::vector<SessionInfo>>> listings_;
  // Attached sequences whose session is being looked up.
  absl::flat_hash_map<RequestId, Sequence*> arriving_;
  std::deque<Outcome> outcomes_;
};

}  // namespace retnet

#endif  // RETNET_ENGINE_SESSIONS_SESSIONS_H_
