#include "engine/snapshots/snapshot_store.h"

#include <algorithm>

namespace retnet {
namespace {

constexpr size_t kStampBytes = 8;

}  // namespace

SnapshotStamp StampOf(std::string_view bytes) {
  return SnapshotStamp(bytes.substr(bytes.size() - std::min(bytes.size(), kStampBytes)));
}

absl::Status CheckReplaces(const SnapshotStamp& there, const SnapshotStamp& new_stamp,
                           const std::vector<SnapshotStamp>& over) {
  const bool expected = there.empty() || there == new_stamp ||
                        std::find(over.begin(), over.end(), there) != over.end();
  if (expected) return absl::OkStatus();
  return absl::AbortedError(
      "the store has a snapshot of the session that this one does not follow");
}

}  // namespace retnet
