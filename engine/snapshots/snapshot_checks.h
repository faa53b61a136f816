// What must hold of a session in a snapshot, whether it is written or read.
#ifndef RETNET_ENGINE_SNAPSHOTS_SNAPSHOT_CHECKS_H_
#define RETNET_ENGINE_SNAPSHOTS_SNAPSHOT_CHECKS_H_

#include "absl/status/status.h"
#include "engine/snapshots/snapshot.h"

namespace retnet {

// INVALID_ARGUMENT, saying why, for a snapshot that does not agree with itself or the format. All
// that can be said without the state's bytes.
absl::Status CheckConsistent(const Snapshot& snapshot, const SnapshotFormat& format);

}  // namespace retnet

#endif  // RETNET_ENGINE_SNAPSHOTS_SNAPSHOT_CHECKS_H_
