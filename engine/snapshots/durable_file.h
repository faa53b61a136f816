// Whole files that outlive a crash of the machine. Errors are the system's, with the path: no room
// (disk, quota or file size) is RESOURCE_EXHAUSTED.
#ifndef RETNET_ENGINE_SNAPSHOTS_DURABLE_FILE_H_
#define RETNET_ENGINE_SNAPSHOTS_DURABLE_FILE_H_

#include <cstdint>
#include <initializer_list>
#include <limits>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace retnet {

// The status of errno, about `path`.
absl::Status FileError(int error, const std::string& path);

// Writes the parts, one behind the other, to `incoming`, and renames it to `path`, which is in an
// existing folder of the same file system: at every moment `path` is as before or holds all parts,
// and once this is OK it stays so. After an error `incoming` is gone.
absl::Status WriteDurably(std::initializer_list<std::string_view> parts,
                          const std::string& incoming, const std::string& path);
// Makes what was made, renamed or removed in a folder last.
absl::Status SyncFolder(const std::string& path);
// The bytes of a file from `offset` on, at most `most`; where `offset` is negative, its last so
// many.
absl::StatusOr<std::string> ReadFileFrom(const std::string& path, int64_t offset,
                                         int64_t most = std::numeric_limits<int64_t>::max());

}  // namespace retnet

#endif  // RETNET_ENGINE_SNAPSHOTS_DURABLE_FILE_H_
