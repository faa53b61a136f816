// Stores the bytes of snapshots beyond the life of the process. Does not look into them.
#ifndef RETNET_ENGINE_SNAPSHOTS_SNAPSHOT_STORE_H_
#define RETNET_ENGINE_SNAPSHOTS_SNAPSHOT_STORE_H_

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "engine/session_key.h"

namespace retnet {

// Identifies one of a session's snapshots: its last eight bytes, which are the checksum of all
// bytes before them. Empty for no snapshot.
using SnapshotStamp = std::string;
SnapshotStamp StampOf(std::string_view bytes);

// Calls block as long as a disk or a network does, so the engine thread must not make them.
// Thread-compatible. UNAVAILABLE if the store cannot be reached at present, INTERNAL if what
// answers is not such a store.
class SnapshotStore {
 public:
  virtual ~SnapshotStore() = default;

  // True if other processes may write to it too.
  virtual bool shared() const = 0;

  // Replaces the stored snapshot if its stamp is in `over` or is that of the new one. Whatever
  // happens, Get finds either the old or the new bytes, complete. ABORTED if another snapshot is
  // stored. RESOURCE_EXHAUSTED if there is no room on the medium or within the store's own bound.
  // After an error the old bytes may still be stored; after UNAVAILABLE or INTERNAL perhaps the
  // new ones.
  virtual absl::Status Put(const SessionKey& key, std::string_view bytes, absl::Time expires,
                           const std::vector<SnapshotStamp>& over) = 0;
  // NOT_FOUND if the snapshot was never put, was deleted, has expired or made room for others.
  virtual absl::StatusOr<std::string> Get(const SessionKey& key) = 0;
  // The stamp of what Get would return. Empty if Get would return NOT_FOUND.
  virtual absl::StatusOr<SnapshotStamp> Stamp(const SessionKey& key) = 0;
  // OK if there is nothing to delete.
  virtual absl::Status Delete(const SessionKey& key) = 0;
  // An owner's session ids from `first` on, ascending, at most `limit`.
  virtual absl::StatusOr<std::vector<std::string>> List(const std::string& owner,
                                                        const std::string& first,
                                                        int32_t limit) = 0;
  // For each id the first `bytes` bytes of what Get would return. Empty if that is NOT_FOUND. Does
  // not count as a use.
  virtual absl::StatusOr<std::vector<std::string>> Heads(const std::string& owner,
                                                         const std::vector<std::string>& ids,
                                                         int64_t bytes) = 0;
};

// For implementations of stores: ABORTED if a snapshot with the stamp `new_stamp` must not replace
// the one with the stamp `there`.
absl::Status CheckReplaces(const SnapshotStamp& there, const SnapshotStamp& new_stamp,
                           const std::vector<SnapshotStamp>& over);

}  // namespace retnet

#endif  // RETNET_ENGINE_SNAPSHOTS_SNAPSHOT_STORE_H_
