// Opens the snapshot store that a flag names.
#ifndef RETNET_ENGINE_SNAPSHOTS_OPEN_SNAPSHOT_STORE_H_
#define RETNET_ENGINE_SNAPSHOTS_OPEN_SNAPSHOT_STORE_H_

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "engine/snapshots/snapshot_store.h"

namespace retnet {

// "none": nullptr. "disk:DIR": a DiskStore. "redis://[[USER]:PASSWORD@]HOST[:PORT][/DATABASE]": a
// RedisStore. `max_bytes` bounds what it holds, 0 not at all; the least recently used go first. A
// snapshot of more than `max_snapshot_bytes` is not read. INVALID_ARGUMENT for anything else.
absl::StatusOr<std::unique_ptr<SnapshotStore>> OpenSnapshotStore(
    const std::string& spec, int64_t max_bytes, int64_t max_snapshot_bytes = int64_t{1} << 30);

// The same errors about `spec` without opening anything.
absl::Status CheckSnapshotStore(const std::string& spec);

}  // namespace retnet

#endif  // RETNET_ENGINE_SNAPSHOTS_OPEN_SNAPSHOT_STORE_H_
