#include "server/identity/token_file.h"

#include <fcntl.h>
#include <openssl/rand.h>
#include <openssl/sha.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <set>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "kernels/status_macros.h"
#include "server/ops/file_descriptor.h"

namespace retnet {
namespace {

constexpr size_t kMaxFileBytes = 16 << 20;
constexpr size_t kMaxNameBytes = 128;
constexpr size_t kIdDigits = 16;

constexpr absl::string_view kHeading =
    "# Access tokens of retnetd, one a line: token NAME ID SALT HASH\n"
    "# A principal's limits, where it has any: limits NAME KEY=VALUE...\n"
    "# Delete a line to revoke its token. The server notices.\n";

absl::Status CheckName(absl::string_view name) {
  const auto allowed = [](unsigned char c) {
    return absl::ascii_isalnum(c) ||
           absl::string_view("._-@+:/=,").find(c) != absl::string_view::npos;
  };
  for (const unsigned char c : name) {
    if (!allowed(c)) {
      return absl::InvalidArgumentError(absl::StrCat(
          "the principal's name \"", absl::CHexEscape(name),
          "\" has a character that is not a letter, a digit or one of . _ - @ + : / = ,"));
    }
  }
  if (name.empty() || name.size() > kMaxNameBytes) {
    return absl::InvalidArgumentError(absl::StrCat("the principal's name has ", name.size(),
                                                   " bytes; it must have 1 to ", kMaxNameBytes));
  }
  return absl::OkStatus();
}

// Hexadecimal digits, in lower case, of exactly as many bytes as there are.
template <typename Bytes>
absl::Status ParseHex(absl::string_view digits, absl::string_view what, Bytes* bytes) {
  const bool hex = digits.find_first_not_of("0123456789abcdef") == absl::string_view::npos;
  if (!hex || digits.size() != 2 * bytes->size()) {
    return absl::InvalidArgumentError(
        absl::StrCat("the ", what, " is not ", 2 * bytes->size(), " digits of 0-9 and a-f"));
  }
  const std::string text = absl::HexStringToBytes(digits);
  std::copy(text.begin(), text.end(), bytes->begin());
  return absl::OkStatus();
}

template <typename Bytes>
std::string Hex(const Bytes& bytes) {
  return absl::BytesToHexString({reinterpret_cast<const char*>(bytes.data()), bytes.size()});
}

// A number of the limits from `least` to `most`.
template <typename T>
absl::Status ParseNumber(absl::string_view key, absl::string_view text, T least, T most, T* value) {
  bool parsed;
  if constexpr (std::is_floating_point_v<T>) {
    parsed = absl::SimpleAtod(text, value) && std::isfinite(*value);
  } else {
    parsed = absl::SimpleAtoi(text, value);
  }
  if (parsed && *value >= least && *value <= most) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      key, " is \"", absl::CHexEscape(text), "\"; it must be a number from ", least, " to ", most));
}

absl::Status ParseLimit(absl::string_view key, absl::string_view value, PrincipalLimits* limits) {
  if (key == "weight") return ParseNumber(key, value, 0.001, 1000.0, &limits->weight);
  if (key == "requests") return ParseNumber(key, value, 1, 1 << 20, &limits->requests);
  if (key == "tokens-per-minute") {
    return ParseNumber<int64_t>(key, value, 1, int64_t{1} << 50, &limits->tokens_per_minute);
  }
  if (key == "max-priority") {
    return ParseNumber(key, value, -(1 << 20), 1 << 20, &limits->max_priority.emplace());
  }
  return absl::InvalidArgumentError(
      absl::StrCat("there is no limit \"", absl::CHexEscape(key),
                   "\"; there are weight, requests, tokens-per-minute and max-priority"));
}

absl::Status ParseLine(const std::vector<absl::string_view>& words, std::set<std::string>* ids,
                       TokenFile* file) {
  if (words[0] == "token") {
    if (words.size() != 5) {
      return absl::InvalidArgumentError("it must be: token NAME ID SALT HASH");
    }
    StoredToken token;
    token.principal = std::string(words[1]);
    token.id = std::string(words[2]);
    RETURN_IF_ERROR(CheckName(token.principal));
    RETURN_IF_ERROR(ParseHex(words[3], "salt", &token.salt));
    RETURN_IF_ERROR(ParseHex(words[4], "hash", &token.hash));
    if (token.id.find('.') != std::string::npos || token.id.size() > kMaxNameBytes) {
      return absl::InvalidArgumentError("the token's id has a dot or is too long");
    }
    if (!ids->insert(token.id).second) {
      return absl::InvalidArgumentError(absl::StrCat("the token id ", token.id, " comes twice"));
    }
    file->tokens.push_back(std::move(token));
    return absl::OkStatus();
  }
  if (words[0] != "limits" || words.size() < 3) {
    return absl::InvalidArgumentError(
        "it must be: token NAME ID SALT HASH, or: limits NAME KEY=VALUE...");
  }
  RETURN_IF_ERROR(CheckName(words[1]));
  const auto [entry, is_new] = file->limits.try_emplace(std::string(words[1]));
  if (!is_new) {
    return absl::InvalidArgumentError(absl::StrCat("the limits of ", words[1], " come twice"));
  }
  for (size_t i = 2; i < words.size(); ++i) {
    const std::pair<absl::string_view, absl::string_view> limit =
        absl::StrSplit(words[i], absl::MaxSplits('=', 1));
    RETURN_IF_ERROR(ParseLimit(limit.first, limit.second, &entry->second));
  }
  return absl::OkStatus();
}

absl::Status FileError(const std::string& path, absl::string_view what) {
  return absl::ErrnoToStatus(errno, absl::StrCat(path, " ", what));
}

// `status` gets the mode and the owner.
absl::StatusOr<std::string> ReadFile(const std::string& path, struct stat* status) {
  // Without blocking: a FIFO is refused, not waited for.
  const FileDescriptor file(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (file.get() < 0 || fstat(file.get(), status) != 0) return FileError(path, "cannot be read");
  if (!S_ISREG(status->st_mode)) {
    return absl::InvalidArgumentError(absl::StrCat(path, " is not a regular file"));
  }
  std::string text;
  char buffer[1 << 16];
  ssize_t size;
  while ((size = read(file.get(), buffer, sizeof(buffer))) > 0) {
    text.append(buffer, size);
    if (text.size() > kMaxFileBytes) {
      return absl::InvalidArgumentError(
          absl::StrCat(path, " has more than ", kMaxFileBytes, " bytes"));
    }
  }
  if (size < 0) return FileError(path, "cannot be read");
  return text;
}

absl::StatusOr<TokenFile> ParseNamed(const std::string& path, absl::string_view text) {
  absl::StatusOr<TokenFile> parsed = ParseTokenFile(text);
  if (parsed.ok()) return parsed;
  return absl::InvalidArgumentError(absl::StrCat(path, ", ", parsed.status().message()));
}

// Puts a file with the mode and owner of `as` in the place of `path`.
absl::Status ReplaceFile(const std::string& path, absl::string_view text, const struct stat& as) {
  std::string name = path + ".XXXXXX";
  const FileDescriptor file(mkostemp(name.data(), O_CLOEXEC));
  if (file.get() < 0) return FileError(name, "cannot be made");
  const auto write_all = [&] {
    // Only root may give a file away; else it stays ours, as the folder's owner allows.
    if (fchown(file.get(), as.st_uid, as.st_gid) != 0 && errno != EPERM) return false;
    if (fchmod(file.get(), as.st_mode & 0777) != 0) return false;
    while (!text.empty()) {
      const ssize_t written = write(file.get(), text.data(), text.size());
      if (written < 0 && errno != EINTR) return false;
      if (written > 0) text.remove_prefix(written);
    }
    return fsync(file.get()) == 0 && rename(name.c_str(), path.c_str()) == 0;
  };
  if (write_all()) return absl::OkStatus();
  absl::Status status = FileError(path, "cannot be written");
  unlink(name.c_str());
  return status;
}

// The text without the principal's limits, if it had any.
std::string WithoutLimits(absl::string_view text, const std::string& principal) {
  std::vector<absl::string_view> kept;
  for (const absl::string_view line : absl::StrSplit(text, '\n')) {
    const std::vector<absl::string_view> words =
        absl::StrSplit(line, absl::ByAnyChar(" \t\r"), absl::SkipEmpty());
    if (words.size() >= 2 && words[0] == "limits" && words[1] == principal) continue;
    kept.push_back(line);
  }
  return absl::StrJoin(kept, "\n");
}

}  // namespace

std::string DescribeLimits(const PrincipalLimits& limits) {
  std::string text = absl::StrCat("weight=", limits.weight);
  if (limits.requests > 0) absl::StrAppend(&text, " requests=", limits.requests);
  if (limits.tokens_per_minute > 0) {
    absl::StrAppend(&text, " tokens-per-minute=", limits.tokens_per_minute);
  }
  if (limits.max_priority.has_value()) {
    absl::StrAppend(&text, " max-priority=", *limits.max_priority);
  }
  return text;
}

absl::StatusOr<TokenFile> ParseTokenFile(absl::string_view text) {
  TokenFile file;
  std::set<std::string> ids;
  int number = 0;
  for (const absl::string_view line : absl::StrSplit(text, '\n')) {
    ++number;
    const std::vector<absl::string_view> words =
        absl::StrSplit(line, absl::ByAnyChar(" \t\r"), absl::SkipEmpty());
    if (words.empty() || words[0].front() == '#') continue;
    if (absl::Status status = ParseLine(words, &ids, &file); !status.ok()) {
      return absl::InvalidArgumentError(absl::StrCat("line ", number, ": ", status.message()));
    }
  }
  return file;
}

absl::StatusOr<std::string> ReadSmallFile(const std::string& path) {
  struct stat status;
  return ReadFile(path, &status);
}

absl::StatusOr<TokenFile> ReadTokenFile(const std::string& path) {
  ASSIGN_OR_RETURN(const std::string text, ReadSmallFile(path));
  return ParseNamed(path, text);
}

absl::StatusOr<std::string> AddToken(const std::string& path, const std::string& principal,
                                     const std::optional<PrincipalLimits>& limits) {
  RETURN_IF_ERROR(CheckName(principal));
  std::error_code error;
  // Not a link to it, as Kubernetes makes: the link stays and its file is replaced.
  const std::string real = std::filesystem::weakly_canonical(path, error).string();
  if (error) return absl::InvalidArgumentError(absl::StrCat(path, ": ", error.message()));
  const std::string folder = std::filesystem::path(real).parent_path().string();
  const FileDescriptor lock(open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (lock.get() < 0 || flock(lock.get(), LOCK_EX) != 0) return FileError(folder, "cannot be used");

  struct stat as = {};
  std::string text(kHeading);
  if (access(real.c_str(), F_OK) == 0) {
    ASSIGN_OR_RETURN(text, ReadFile(real, &as));
  } else {
    as.st_mode = 0600;
    as.st_uid = geteuid();
    as.st_gid = getegid();
  }
  RETURN_IF_ERROR(ParseNamed(path, text).status());

  StoredToken token;
  token.principal = principal;
  std::array<unsigned char, kIdDigits / 2> id;
  std::array<unsigned char, kSecretDigits / 2> secret_bytes;
  if (RAND_bytes(id.data(), id.size()) != 1 ||
      RAND_bytes(token.salt.data(), token.salt.size()) != 1 ||
      RAND_bytes(secret_bytes.data(), secret_bytes.size()) != 1) {
    return absl::InternalError("there are no random numbers to be had");
  }
  const std::string secret = Hex(secret_bytes);
  token.hash = HashSecret(token.salt, secret);
  if (limits.has_value()) text = WithoutLimits(text, principal);
  if (!text.empty() && text.back() != '\n') text += '\n';
  if (limits.has_value()) {
    absl::StrAppend(&text, "limits ", principal, " ", DescribeLimits(*limits), "\n");
  }
  absl::StrAppend(&text, "token ", principal, " ", Hex(id), " ", Hex(token.salt), " ",
                  Hex(token.hash), "\n");
  RETURN_IF_ERROR(ParseNamed(path, text).status());
  RETURN_IF_ERROR(ReplaceFile(real, text, as));
  return absl::StrCat(Hex(id), ".", secret);
}

Sha256 HashSecret(const Salt& salt, absl::string_view secret) {
  std::string text(reinterpret_cast<const char*>(salt.data()), salt.size());
  absl::StrAppend(&text, secret);
  Sha256 hash;
  SHA256(reinterpret_cast<const unsigned char*>(text.data()), text.size(), hash.data());
  return hash;
}

}  // namespace retnet
