// The sessions of all owners: what they hold between requests, who may run on them, and how they
// reach the snapshot store and come back.
#ifndef RETNET_ENGINE_SESSIONS_SESSIONS_H_
#define RETNET_ENGINE_SESSIONS_SESSIONS_H_

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "engine/scheduling/sequence.h"
#include "engine/scheduling/state_manager.h"
#include "engine/session.h"
#include "engine/snapshots/snapshot.h"
#include "engine/snapshots/snapshot_io.h"
#include "engine/states/token_history.h"

namespace retnet {

// What Sessions asks of its owner.
class SequenceOwner {
 public:
  virtual ~SequenceOwner() = default;
  // The sequence has its whole history and may be scheduled.
  virtual void Ready(Sequence* sequence) = 0;
  virtual void Fail(Sequence* sequence, absl::Status status) = 0;
  virtual Sequence* Find(RequestId id) = 0;  // nullptr when it has ended
  // Runs `task` on the owner's thread, later; from any thread.
  virtual void Post(std::function<void()> task) = 0;
};

struct SessionsOptions {
  int32_t max_kept = 65536;
  SnapshotIo* store = nullptr;  // null: none; outlives Sessions' last call
};

// One thread uses it.
class Sessions {
 public:
  Sessions(const SessionsOptions& options, StateManager* manager, SequenceOwner* owner);

  // A request begins: gives it its session's history, now or when it is its turn, or fails it.
  // Without a session it is ready at once.
  void Attach(Sequence* sequence, absl::Time now);
  // It has finished: the session takes back what it keeps, and the next one gets its turn.
  void Detach(Sequence* sequence, absl::Time now);

  // As Engine's.
  void Create(SessionSpec spec, absl::Time now, const Reply<SessionInfo>& reply);
  void Get(const SessionKey& key, const Reply<SessionInfo>& reply);
  void List(const std::string& owner, const std::string& after, int32_t limit,
            const Reply<std::vector<SessionInfo>>& reply);
  void Fork(const SessionKey& key, std::vector<std::string> ids, absl::Time now,
            const Reply<std::vector<SessionInfo>>& reply);
  void Rewind(const SessionKey& key, retnet::Rewind rewind, absl::Time now,
              const Reply<SessionInfo>& reply);
  void Delete(const SessionKey& key, const Reply<SessionInfo>& reply);
  void Export(const SessionKey& key, const Reply<Snapshot>& reply);
  void Import(SessionSpec spec, Snapshot snapshot, absl::Time now, const Reply<SessionInfo>& reply);

  // Forgets those whose time has come.
  void Expire(absl::Time now);
  absl::Time next_expiry() const;
  // Starts writing the sessions that the store does not have yet, and gives their number.
  int32_t WriteAll();

  // Answers calls that wait for the store with CANCELLED.
  void Close();

  int32_t count() const { return static_cast<int32_t>(sessions_.size()); }

 private:
  struct Session {
    SessionSpec spec;
    absl::Time created;
    absl::Time last_used;
    uint64_t serial = 0;  // no two sessions have the same, whatever their keys
    uint64_t version = 0;
    uint64_t read_version = 0;     // the newest whose state is being read to be written
    uint64_t written_version = 0;  // the newest that the store has or is being given
    std::shared_ptr<SnapshotLineage> lineage = std::make_shared<SnapshotLineage>();
    bool lost = false;  // what the store has is another server's, and follows none of these turns
    TokenHistory history;  // the running sequence's, while one runs
    StatePrefix state;     // likewise; of some of it, or none
    Sequence* running = nullptr;
    std::deque<Sequence*> waiting;

    bool idle() const { return running == nullptr && waiting.empty(); }
    absl::Time expires() const { return last_used + spec.ttl; }
  };
  using SessionOr = absl::StatusOr<Session*>;
  using Continuation = std::function<void(SessionOr)>;

  // Calls `then` with OK when none of the ids is taken, here or in the store.
  void Reserve(const std::string& owner, std::vector<std::string> ids,
               std::function<void(absl::Status)> then);
  // Calls `then` with the session, at once or when the store has given it, or with NOT_FOUND. Of a
  // store that others write to it is asked first whether it has a newer one.
  void With(const SessionKey& key, Continuation then);
  void Checked(const SessionKey& key, const absl::StatusOr<bool>& changed);
  void Load(const SessionKey& key);
  void Loaded(const SessionKey& key, std::shared_ptr<SnapshotLineage> lineage,
              absl::StatusOr<Snapshot> snapshot);
  void Resolve(const SessionKey& key, SessionOr session);
  bool shared() const { return options_.store != nullptr && options_.store->shared(); }
  Session* Find(const SessionKey& key);
  SessionOr Add(SessionSpec spec, absl::Time now);
  void Forget(Session* session);
  void Erase(Session* session);
  void Run(Session* session, Sequence* sequence);
  void RunNext(Session* session);
  void Changed(Session* session, absl::Time now);
  void Write(Session* session);
  // Around every change of what the indices are ordered by.
  void Index(const Session& session);
  void Unindex(const Session& session);
  SessionInfo InfoOf(const Session& session) const;
  static absl::Status Busy(const SessionKey& key);
  Snapshot SnapshotOf(const Session& session) const;
  // Calls `then` with the session and its state's bytes, at once or when they have been read.
  void ReadInto(const Session& session, std::function<void(Snapshot)> then);
  void Adopt(Snapshot snapshot, Session* session);

  const SessionsOptions options_;
  StateManager* const state_manager_;
  SequenceOwner* const owner_;
  uint64_t last_serial_ = 0;
  std::map<SessionKey, std::unique_ptr<Session>> sessions_;
  // Of the idle ones.
  std::set<std::pair<absl::Time, SessionKey>> by_expiry_;
  std::set<std::pair<absl::Time, SessionKey>> by_use_;
  std::map<SessionKey, std::vector<Continuation>> loading_;  // the store is being asked
  uint64_t last_listing_ = 0;
  std::map<uint64_t, Reply<std::vector<SessionInfo>>> listings_;  // likewise
};

}  // namespace retnet

#endif  // RETNET_ENGINE_SESSIONS_SESSIONS_H_
