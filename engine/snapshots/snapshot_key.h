// The key with which snapshots are signed, so that whoever can write to a store cannot forge one.
#ifndef RETNET_ENGINE_SNAPSHOTS_SNAPSHOT_KEY_H_
#define RETNET_ENGINE_SNAPSHOTS_SNAPSHOT_KEY_H_

#include <cstddef>
#include <string>
#include <string_view>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace retnet {

// Immutable, so any thread may use it.
class SnapshotKey {
 public:
  static constexpr size_t kLeastBytes = 32;
  static constexpr size_t kMostBytes = 4096;
  static constexpr size_t kHmacBytes = 32;

  // All bytes of a file are the key, a newline at its end too. INVALID_ARGUMENT or NOT_FOUND for a
  // file that is not a regular one, cannot be read, or has too few bytes or too many.
  static absl::StatusOr<SnapshotKey> Read(const std::string& path);

  // Appends the HMAC-SHA256 (RFC 2104) of the bytes: kHmacBytes bytes. INTERNAL if the
  // cryptographic library cannot compute it.
  absl::Status Sign(std::string* bytes) const;
  // OK if the last kHmacBytes bytes are the HMAC of those before them, else FAILED_PRECONDITION.
  // Takes the same time wherever the two differ.
  absl::Status Check(std::string_view bytes_and_hmac) const;

 private:
  explicit SnapshotKey(std::string key) : key_(std::move(key)) {}

  std::string Hmac(std::string_view bytes) const;  // empty: it cannot be computed

  std::string key_;
};

}  // namespace retnet

#endif  // RETNET_ENGINE_SNAPSHOTS_SNAPSHOT_KEY_H_
