#include "engine/snapshot_store.h"

#include "absl/strings/str_cat.h"
#include "engine/disk_store.h"

namespace retnet {
namespace {

constexpr std::string_view kDisk = "disk:";

}  // namespace

absl::StatusOr<std::unique_ptr<SnapshotStore>> OpenSnapshotStore(const std::string& spec,
                                                                 int64_t max_bytes) {
  if (max_bytes < 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("a snapshot store's bound is ", max_bytes, " bytes; it must be at least 0"));
  }
  if (spec == "none") return nullptr;
  if (spec.starts_with(kDisk) && spec.size() > kDisk.size()) {
    return DiskStore::Open(spec.substr(kDisk.size()), max_bytes);
  }
  return absl::InvalidArgumentError(
      absl::StrCat("snapshot store ", spec, ": it must be none or disk:DIR"));
}

}  // namespace retnet
