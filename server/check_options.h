// Checks what flags name, before anything that takes time or memory begins.
#ifndef RETNET_SERVER_CHECK_OPTIONS_H_
#define RETNET_SERVER_CHECK_OPTIONS_H_

#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/snapshots/snapshot_key.h"
#include "server/flags.h"

namespace retnet {

// OK if the files of tokens, certificates and the snapshot key are right, and the flags suit each
// other. It opens no address, store or device, and not the checkpoint: CheckCheckpoint does.
// An error's code is the one that starting the server would have.
absl::Status CheckOptions(const RetnetdOptions& options);

// nullptr without --snapshot-key-file. FAILED_PRECONDITION if the file is not a key.
absl::StatusOr<std::shared_ptr<const SnapshotKey>> ReadSnapshotKey(const RetnetdOptions& options);

}  // namespace retnet

#endif  // RETNET_SERVER_CHECK_OPTIONS_H_
