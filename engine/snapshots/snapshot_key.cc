#include "engine/snapshots/snapshot_key.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "kernels/regular_file.h"
#include "kernels/status_macros.h"

namespace retnet {

absl::StatusOr<SnapshotKey> SnapshotKey::Read(const std::string& path) {
  ASSIGN_OR_RETURN(std::string key, ReadRegularFile(path));
  if (key.size() < kLeastBytes || key.size() > kMostBytes) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, ": a key of ", key.size(), " bytes; it must have from ", kLeastBytes,
                     " to ", kMostBytes, ", for example of: head -c 32 /dev/urandom"));
  }
  return SnapshotKey(std::move(key));
}

absl::Status SnapshotKey::Sign(std::string* bytes) const {
  const std::string hmac = Hmac(*bytes);
  if (hmac.empty()) return absl::InternalError("libcrypto cannot compute an HMAC-SHA256");
  *bytes += hmac;
  return absl::OkStatus();
}

std::string SnapshotKey::Hmac(std::string_view bytes) const {
  std::string hmac(kHmacBytes, '\0');
  if (HMAC(EVP_sha256(), key_.data(), static_cast<int>(key_.size()),
           reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size(),
           reinterpret_cast<unsigned char*>(hmac.data()), nullptr) == nullptr) {
    hmac.clear();
  }
  return hmac;
}

absl::Status SnapshotKey::Check(std::string_view bytes_and_hmac) const {
  const size_t signed_bytes = bytes_and_hmac.size() - std::min(bytes_and_hmac.size(), kHmacBytes);
  const std::string_view hmac = bytes_and_hmac.substr(signed_bytes);
  const std::string expected = Hmac(bytes_and_hmac.substr(0, signed_bytes));
  if (expected.size() == kHmacBytes && hmac.size() == kHmacBytes &&
      CRYPTO_memcmp(expected.data(), hmac.data(), kHmacBytes) == 0) {
    return absl::OkStatus();
  }
  return absl::FailedPreconditionError(
      "the snapshot's HMAC is not that of this server's snapshot key: it was written with another "
      "key, or changed since");
}

}  // namespace retnet
