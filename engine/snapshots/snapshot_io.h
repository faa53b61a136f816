// Snapshots on their way to and from a store, on a thread of their own: whoever calls never waits
// for a disk, a network or a compressor.
#ifndef RETNET_ENGINE_SNAPSHOTS_SNAPSHOT_IO_H_
#define RETNET_ENGINE_SNAPSHOTS_SNAPSHOT_IO_H_

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "engine/session.h"
#include "engine/snapshots/snapshot.h"
#include "engine/snapshots/snapshot_store.h"
#include "engine/stats.h"
#include "kernels/mutex.h"

namespace retnet {

// Which of a session's snapshots the store may have, as far as this process knows: the one that it
// read or wrote last, and those of which it does not know whether they were written. Of whoever
// keeps the session; its content is the I/O thread's alone.
struct SnapshotLineage {
  std::vector<SnapshotStamp> stamps;
};

// Thread-safe. Operations run one at a time, in the order of the calls (Check excepted). Each
// `done` is called once, on the I/O thread, without a lock held. It may call back here. It must not
// wait for another operation or destroy this object.
class SnapshotIo {
 public:
  using Done = std::function<void(absl::Status)>;

  // `store` is not null. Puts that wait hold at most max_queued_bytes, a single one excepted.
  SnapshotIo(std::unique_ptr<SnapshotStore> store, const SnapshotFormat& format,
             int64_t max_queued_bytes);
  // Finishes what is queued first.
  ~SnapshotIo();

  // The snapshot follows those of its lineage: ABORTED where the store has another one, whose turns
  // would be lost. CANCELLED, at once, when the queue is full. RESOURCE_EXHAUSTED when the store is
  // full. A put of the same session that has not begun, and that no other operation of the session
  // follows, is replaced: then both are done when the newer is.
  void Put(Snapshot snapshot, std::shared_ptr<SnapshotLineage> lineage, Done done);
  // NOT_FOUND; DATA_LOSS and FAILED_PRECONDITION as DecodeSnapshot, also for the snapshot of
  // another key than it was stored under. What has expired is NOT_FOUND. The lineage becomes that
  // of the snapshot.
  void Get(SessionKey key, std::shared_ptr<SnapshotLineage> lineage,
           std::function<void(absl::StatusOr<Snapshot>)> done);
  // Whether the store has a snapshot that is not of the lineage. Overtakes operations of other
  // sessions that wait.
  void Check(SessionKey key, std::shared_ptr<SnapshotLineage> lineage,
             std::function<void(absl::StatusOr<bool>)> done);
  void Delete(SessionKey key, Done done);
  // The sessions of an owner that are stored, by id: at most `limit` of those after `after`. What
  // this model could not go on with is left out.
  void List(std::string owner, std::string after, int32_t limit,
            std::function<void(absl::StatusOr<std::vector<SessionInfo>>)> done);
  // A turn was lost before it was put: counts it.
  void CountConflict();

  // Returns when all operations called for before are done; DEADLINE_EXCEEDED when they are not by
  // then. Not from a `done`.
  absl::Status Flush(absl::Time deadline);

  SnapshotIoStats stats() const;
  // Whether other processes write to the store, too.
  bool shared() const { return shared_; }
  const SnapshotFormat& format() const { return format_; }

 private:
  struct Operation {
    uint64_t number = 0;
    std::optional<SessionKey> key;  // none: in no order with others
    std::function<void()> run;      // null: a put
    // Of a put.
    Snapshot snapshot;
    std::shared_ptr<SnapshotLineage> lineage;
    std::vector<Done> done;
    int64_t bytes = 0;
  };

  void Add(std::optional<SessionKey> key, std::function<void()> run)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void ForgetLast(const Operation& operation) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void RunAll();
  void RunPut(Operation& put);
  absl::StatusOr<Snapshot> Read(const SessionKey& key, SnapshotLineage* lineage);
  absl::StatusOr<bool> IsChanged(const SessionKey& key, const SnapshotLineage& lineage);
  absl::Status Write(const Snapshot& snapshot, SnapshotLineage* lineage);
  absl::StatusOr<std::vector<SessionInfo>> ReadHeads(const std::string& owner,
                                                     const std::string& after, int32_t limit);
  // `head` are its first kHeadBytes bytes, or all.
  absl::StatusOr<SessionInfo> ReadHead(const SessionKey& key, std::string head);
  void CountFailure(const absl::Status& status);
  void CountRead(const absl::Status& status, int64_t bytes);
  // Of the put that waits and may be replaced; nullptr where there is none.
  Operation* ReplaceablePut(const SessionKey& key) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const SnapshotFormat format_;
  const int64_t max_queued_bytes_;
  const bool shared_;

  // The I/O thread only.
  const std::unique_ptr<SnapshotStore> store_;

  mutable Mutex mutex_;
  CondVar added_;
  CondVar finished_one_;
  // The number of each is one more than of that before it.
  std::deque<Operation> queue_ ABSL_GUARDED_BY(mutex_);
  std::deque<std::function<void()>> urgent_ ABSL_GUARDED_BY(mutex_);  // go before it
  // Number of the last operation that waits.
  absl::flat_hash_map<SessionKey, uint64_t> last_ ABSL_GUARDED_BY(mutex_);
  uint64_t next_number_ ABSL_GUARDED_BY(mutex_) = 1;
  uint64_t finished_ ABSL_GUARDED_BY(mutex_) = 0;  // number of the last operation that is done
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  SnapshotIoStats stats_ ABSL_GUARDED_BY(mutex_);

  std::thread thread_;  // last: it uses all of the above
};

}  // namespace retnet

#endif  // RETNET_ENGINE_SNAPSHOTS_SNAPSHOT_IO_H_
