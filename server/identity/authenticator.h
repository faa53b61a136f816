// Finds out who calls: by a bearer token, by a client's certificate, or not at all.
#ifndef RETNET_SERVER_IDENTITY_AUTHENTICATOR_H_
#define RETNET_SERVER_IDENTITY_AUTHENTICATOR_H_

#include <memory>
#include <string>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "kernels/mutex.h"
#include "server/identity/principal.h"
#include "server/identity/token_file.h"

namespace retnet {

// Thread-safe.
class Authenticator {
 public:
  // Reads the file of tokens.
  static absl::StatusOr<std::unique_ptr<Authenticator>> Open(const std::string& token_file);
  // Without tokens: certificates alone tell who calls.
  Authenticator() = default;

  // The principal of the value of an `authorization` header, "Bearer ID.SECRET". UNAUTHENTICATED,
  // in the same words and after the same work, whatever is wrong with it.
  absl::StatusOr<std::shared_ptr<Principal>> OfHeader(absl::string_view authorization) const;
  // The principal that a certificate names, with its limits if the file has any.
  std::shared_ptr<Principal> Named(const std::string& name) const;

  // Reads the file again. After an error what was read before stays in use. Who is in the old and
  // in the new one is the same principal: what it has used still counts.
  absl::Status Reload();
  const std::string& token_file() const { return token_file_; }

 private:
  struct Entry {
    StoredToken token;
    std::shared_ptr<Principal> principal;
  };
  struct Table {
    absl::flat_hash_map<std::string, Entry> tokens;                           // by id
    absl::flat_hash_map<std::string, std::shared_ptr<Principal>> principals;  // by name
  };
  std::shared_ptr<const Table> table() const;

  std::string token_file_;  // empty: none. Constant after Open
  Mutex reloading_;         // taken before mu_
  mutable Mutex mu_;
  std::shared_ptr<const Table> table_ ABSL_GUARDED_BY(mu_) = std::make_shared<Table>();
};

// What a caller is told that has said nothing, or nothing right, about who it is.
absl::Status Unauthenticated();

}  // namespace retnet

#endif  // RETNET_SERVER_IDENTITY_AUTHENTICATOR_H_
