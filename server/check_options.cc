#include "server/check_options.h"

#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "engine/snapshots/open_snapshot_store.h"
#include "kernels/status_macros.h"
#include "server/configuration.h"
#include "server/identity/identity.h"

namespace retnet {
namespace {

// Port 0 is another port each time.
absl::Status CheckAddresses(const RetnetdOptions& options) {
  const std::vector<std::pair<const char*, std::string>> addresses = {
      {"--listen", options.server.listen},
      {"--private-listen", options.server.private_listen},
      {"--metrics-listen", options.metrics_listen}};
  for (size_t i = 0; i < addresses.size(); ++i) {
    const auto& [flag, address] = addresses[i];
    if (address.empty() || absl::EndsWith(address, ":0")) continue;
    for (size_t j = 0; j < i; ++j) {
      if (addresses[j].second != address) continue;
      return absl::InvalidArgumentError(absl::StrCat(flag, " is ", address, ", the address of ",
                                                     addresses[j].first, "; it must be another"));
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status CheckOptions(const RetnetdOptions& options) {
  RETURN_IF_ERROR(CheckModelOptions(options.model));
  RETURN_IF_ERROR(CheckAddresses(options));
  if (const absl::Status store = CheckSnapshotStore(options.snapshot_store); !store.ok()) {
    return absl::FailedPreconditionError(absl::StrCat(
        "--snapshot-store ", WithoutPassword(options.snapshot_store), ": ", store.message()));
  }
  RETURN_IF_ERROR(ReadSnapshotKey(options).status());
  return Identity::Open(options.server.identity).status();
}

absl::StatusOr<std::shared_ptr<const SnapshotKey>> ReadSnapshotKey(const RetnetdOptions& options) {
  if (options.snapshot_key_file.empty()) return nullptr;
  absl::StatusOr<SnapshotKey> key = SnapshotKey::Read(options.snapshot_key_file);
  if (!key.ok()) {
    return absl::FailedPreconditionError(
        absl::StrCat("--snapshot-key-file ", key.status().message()));
  }
  return std::make_shared<const SnapshotKey>(*std::move(key));
}

}  // namespace retnet
