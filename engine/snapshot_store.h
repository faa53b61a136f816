// Where the bytes of snapshots outlive the process. What they hold is not its concern.
#ifndef RETNET_ENGINE_SNAPSHOT_STORE_H_
#define RETNET_ENGINE_SNAPSHOT_STORE_H_

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

// Calls block, for as long as a disk or a network does: not for the engine thread.
// Thread-compatible. UNAVAILABLE where the store cannot be reached just now.
class SnapshotStore {
 public:
  virtual ~SnapshotStore() = default;

  // Replaces what there was: whatever happens, Get finds the old bytes or the new, whole.
  // RESOURCE_EXHAUSTED when there is no room, be it for lack of space or by the store's own bound;
  // then, and after any other error, the old may be there still.
  virtual absl::Status Put(const SessionKey& key, std::string_view bytes, absl::Time expires) = 0;
  // NOT_FOUND for what was never put, was deleted, has expired or had to make room for others.
  virtual absl::StatusOr<std::string> Get(const SessionKey& key) = 0;
  // OK when there is nothing.
  virtual absl::Status Delete(const SessionKey& key) = 0;
  // The ids of an owner, ascending.
  virtual absl::StatusOr<std::vector<std::string>> List(const std::string& owner) = 0;
};

// "none": nullptr. "disk:DIR": a DiskStore. "redis://[[USER]:PASSWORD@]HOST[:PORT][/DATABASE]": a
// RedisStore. `max_bytes` bounds what it holds, 0 not at all; the least recently used go first.
// INVALID_ARGUMENT for anything else.
absl::StatusOr<std::unique_ptr<SnapshotStore>> OpenSnapshotStore(const std::string& spec,
                                                                 int64_t max_bytes);

}  // namespace retnet

#endif  // RETNET_ENGINE_SNAPSHOT_STORE_H_
