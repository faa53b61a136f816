#include "server/ops/listen_address.h"

#include <arpa/inet.h>
#include <sys/un.h>

#include <string_view>

#include "absl/status/status.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

namespace retnet {
namespace {

constexpr std::string_view kUnix = "unix:";

absl::StatusOr<ListenAddress> ParseUnix(const std::string& text) {
  ListenAddress address;
  address.unix_path = text.substr(kUnix.size());
  // The form of a URI, unix:///PATH, which gRPC's clients take as well.
  if (address.unix_path.starts_with("///")) address.unix_path.erase(0, 2);
  constexpr size_t kMostBytes = sizeof(sockaddr_un::sun_path) - 1;
  if (address.unix_path.empty() || address.unix_path.size() > kMostBytes) {
    return absl::InvalidArgumentError(absl::StrCat(
        "\"", text, "\" is not unix:PATH with a path of ", "1 to ", kMostBytes, " bytes"));
  }
  return address;
}

}  // namespace

absl::StatusOr<ListenAddress> ParseListenAddress(const std::string& text) {
  return text.starts_with(kUnix) ? ParseUnix(text) : ParseHostAndPort(text);
}

absl::StatusOr<ListenAddress> ParseHostAndPort(const std::string& text) {
  const size_t colon = text.rfind(':');
  ListenAddress address;
  if (colon == std::string::npos || colon == 0 ||
      !absl::SimpleAtoi(text.substr(colon + 1), &address.port) || address.port < 0 ||
      address.port > 65535) {
    return absl::InvalidArgumentError(
        absl::StrCat("\"", text, "\" is not HOST:PORT with a port from 0 to 65535"));
  }
  address.host = text.substr(0, colon);
  const bool bracketed = address.host.front() == '[' && address.host.back() == ']';
  if (!bracketed && address.host.find(':') != std::string::npos) {
    return absl::InvalidArgumentError(
        absl::StrCat("\"", text, "\": an IPv6 address needs brackets, as in [::1]:50051"));
  }
  return address;
}

bool IsLoopback(const ListenAddress& address) {
  const std::string& host = address.host;
  in_addr v4 = {};
  if (inet_pton(AF_INET, host.c_str(), &v4) == 1) return (ntohl(v4.s_addr) >> 24) == 127;
  return !address.unix_path.empty() || host == "localhost" || host == "[::1]";
}

}  // namespace retnet
