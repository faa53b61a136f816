// Where the bytes of snapshots outlive the process. What they hold is not its concern.
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

// Says which of a session's snapshots one is: its last eight bytes, which are the checksum of all
// before them. Empty: none.
using SnapshotStamp = std::string;
SnapshotStamp StampOf(std::string_view bytes);

// Calls block, for as long as a disk or a network does: not for the engine thread.
// Thread-compatible. UNAVAILABLE where the store cannot be reached just now.
class SnapshotStore {
 public:
  virtual ~SnapshotStore() = default;

  // Whether other processes write to it, too.
  virtual bool shared() const = 0;

  // Replaces what there was, if its stamp is one of `over` or that of the new: whatever happens,
  // Get finds the old bytes or the new, whole. ABORTED when something else is there.
  // RESOURCE_EXHAUSTED when there is no room, be it for lack of space or by the store's own bound;
  // then, and after any other error, the old may be there still; after UNAVAILABLE, the new.
  virtual absl::Status Put(const SessionKey& key, std::string_view bytes, absl::Time expires,
                           const std::vector<SnapshotStamp>& over) = 0;
  // NOT_FOUND for what was never put, was deleted, has expired or had to make room for others.
  virtual absl::StatusOr<std::string> Get(const SessionKey& key) = 0;
  // The stamp of what Get would give; empty where that is NOT_FOUND.
  virtual absl::StatusOr<SnapshotStamp> Stamp(const SessionKey& key) = 0;
  // OK when there is nothing.
  virtual absl::Status Delete(const SessionKey& key) = 0;
  // The ids of an owner from `first` on, ascending, at most `limit`.
  virtual absl::StatusOr<std::vector<std::string>> List(const std::string& owner,
                                                        const std::string& first,
                                                        int32_t limit) = 0;
  // Of each the first `bytes` bytes of what Get would give; empty where that is NOT_FOUND. Does
  // not count as a use.
  virtual absl::StatusOr<std::vector<std::string>> Heads(const std::string& owner,
                                                         const std::vector<std::string>& ids,
                                                         int64_t bytes) = 0;
};

// For stores: whether one with the stamp `new_stamp` may replace what is `there`; ABORTED.
absl::Status CheckReplaces(const SnapshotStamp& there, const SnapshotStamp& new_stamp,
                           const std::vector<SnapshotStamp>& over);

}  // namespace retnet

#endif  // RETNET_ENGINE_SNAPSHOTS_SNAPSHOT_STORE_H_
