#include "engine/snapshots/redis_url.h"

#include <optional>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"

namespace retnet {
namespace {

constexpr absl::string_view kScheme = "redis://";

// Text in which % and two hexadecimal digits stand for a byte.
std::optional<std::string> PercentDecoded(absl::string_view text) {
  std::string decoded;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      decoded += text[i];
      continue;
    }
    const absl::string_view digits = text.substr(i + 1, 2);
    if (digits.size() < 2 || !absl::ascii_isxdigit(digits[0]) || !absl::ascii_isxdigit(digits[1])) {
      return std::nullopt;
    }
    decoded += absl::HexStringToBytes(digits);
    i += 2;
  }
  return decoded;
}

}  // namespace

absl::StatusOr<RedisOptions> ParseRedisUrl(const std::string& url) {
  absl::string_view rest = url;
  absl::ConsumePrefix(&rest, kScheme);
  RedisOptions options;
  const size_t at = rest.rfind('@');
  const absl::string_view credentials = rest.substr(0, at == rest.npos ? 0 : at);
  if (at != rest.npos) rest = rest.substr(at + 1);
  const absl::Status refused = absl::InvalidArgumentError(absl::StrCat(
      "snapshot store at ", rest, ": it must be redis://[[USER]:PASSWORD@]HOST[:PORT][/DATABASE]"));
  if (!absl::StartsWith(url, kScheme)) return refused;
  if (at != rest.npos) {
    const size_t colon = credentials.find(':');
    if (colon == credentials.npos || colon + 1 == credentials.size()) return refused;
    const auto user = PercentDecoded(credentials.substr(0, colon));
    const auto password = PercentDecoded(credentials.substr(colon + 1));
    if (!user || !password) {
      return absl::InvalidArgumentError(absl::StrCat(
          "snapshot store at ", rest,
          ": in user and password, % must be followed by two hexadecimal digits; %25 is a %"));
    }
    options.user = *user;
    options.password = *password;
  }
  if (const size_t slash = rest.find('/'); slash != rest.npos) {
    if (!absl::SimpleAtoi(rest.substr(slash + 1), &options.database) || options.database < 0) {
      return refused;
    }
    rest = rest.substr(0, slash);
  }
  const size_t closing = absl::StartsWith(rest, "[") ? rest.find(']') : 0;
  if (closing == rest.npos) return refused;
  if (const size_t colon = rest.find(':', closing); colon != rest.npos) {
    if (!absl::SimpleAtoi(rest.substr(colon + 1), &options.port) || options.port < 1 ||
        options.port > 65535) {
      return refused;
    }
    rest = rest.substr(0, colon);
  }
  if (closing > 0) {
    if (closing + 1 != rest.size()) return refused;
    rest = rest.substr(1, closing - 1);
  }
  if (rest.empty() || rest.find_first_of("@[] ") != rest.npos) return refused;
  options.host = std::string(rest);
  return options;
}

}  // namespace retnet
