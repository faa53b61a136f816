#include "engine/snapshots/open_snapshot_store.h"

#include <string_view>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/snapshots/disk_store.h"
#include "engine/snapshots/redis_store.h"
#include "kernels/status_macros.h"

namespace retnet {
namespace {

constexpr std::string_view kDisk = "disk:";
constexpr std::string_view kRedis = "redis://";

bool IsDisk(const std::string& spec) {
  return spec.starts_with(kDisk) && spec.size() > kDisk.size();
}

absl::Status Unknown(const std::string& spec) {
  // Not the whole of it: there may be a password in it.
  return absl::InvalidArgumentError(absl::StrCat(
      "snapshot store ", spec.substr(0, spec.find(':')), ": it must be none, disk:DIR or ",
      "redis://[[USER]:PASSWORD@]HOST[:PORT][/DATABASE]"));
}

}  // namespace

absl::StatusOr<std::unique_ptr<SnapshotStore>> OpenSnapshotStore(const std::string& spec,
                                                                 int64_t max_bytes,
                                                                 int64_t max_snapshot_bytes) {
  if (max_bytes < 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("a snapshot store's bound is ", max_bytes, " bytes; it must be at least 0"));
  }
  if (spec == "none") return nullptr;
  if (IsDisk(spec)) {
    return DiskStore::Open(spec.substr(kDisk.size()), max_bytes, max_snapshot_bytes);
  }
  if (spec.starts_with(kRedis)) {
    ASSIGN_OR_RETURN(RedisOptions options, ParseRedisUrl(spec));
    options.max_bytes = max_bytes;
    options.max_snapshot_bytes = max_snapshot_bytes;
    return std::make_unique<RedisStore>(std::move(options));
  }
  return Unknown(spec);
}

absl::Status CheckSnapshotStore(const std::string& spec) {
  if (spec.starts_with(kRedis)) return ParseRedisUrl(spec).status();
  return spec == "none" || IsDisk(spec) ? absl::OkStatus() : Unknown(spec);
}

}  // namespace retnet
