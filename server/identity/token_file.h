// The file of access tokens: who may call a server, and how much each may ask of it. The file holds
// salted hashes. Whoever reads it cannot make a token from them.
#ifndef RETNET_SERVER_IDENTITY_TOKEN_FILE_H_
#define RETNET_SERVER_IDENTITY_TOKEN_FILE_H_

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace retnet {

// What a principal may ask of a server.
struct PrincipalLimits {
  double weight = 1.0;            // its share of the server against other principals; above 0
  int32_t requests = 0;           // running or waiting at once, each sample counts; 0: no limit
  int64_t tokens_per_minute = 0;  // of prompts and answers together; 0: no limit
  std::optional<int32_t> max_priority;  // greatest that its requests may have; nullopt: no limit

  friend bool operator==(const PrincipalLimits&, const PrincipalLimits&) = default;
};

using Sha256 = std::array<unsigned char, 32>;
using Salt = std::array<unsigned char, 16>;

struct StoredToken {
  std::string principal;
  std::string id;  // the part of the token before the dot
  Salt salt = {};
  Sha256 hash = {};  // of salt and secret
};

// The secret of a token: 256 random bits as so many hexadecimal digits.
inline constexpr size_t kSecretDigits = 64;

// As in the file: "weight=1 requests=8".
std::string DescribeLimits(const PrincipalLimits& limits);

struct TokenFile {
  std::vector<StoredToken> tokens;                // in the order of the file; no id twice
  std::map<std::string, PrincipalLimits> limits;  // by principal; without an entry: the defaults
};

// INVALID_ARGUMENT names the line that is not as docs/security.md describes it.
absl::StatusOr<TokenFile> ParseTokenFile(absl::string_view text);
// The same for a file. Anything but a regular file that can be read is an error, too.
absl::StatusOr<TokenFile> ReadTokenFile(const std::string& path);

// Makes a token for the principal and appends it to the file, which is made if there is none. With
// `limits` they replace those that the principal had. Returns the token, id.secret, which is stored
// nowhere. Two processes may do this at once: the file is replaced as a whole, under a lock.
absl::StatusOr<std::string> AddToken(const std::string& path, const std::string& principal,
                                     const std::optional<PrincipalLimits>& limits);

// The content of a regular file of at most 16 MiB. Of anything else an error that names it.
absl::StatusOr<std::string> ReadSmallFile(const std::string& path);

// SHA-256 of the salt and the secret after it.
Sha256 HashSecret(const Salt& salt, absl::string_view secret);

}  // namespace retnet

#endif  // RETNET_SERVER_IDENTITY_TOKEN_FILE_H_
