// Where a server listens: HOST:PORT or unix:PATH.
#ifndef RETNET_SERVER_OPS_LISTEN_ADDRESS_H_
#define RETNET_SERVER_OPS_LISTEN_ADDRESS_H_

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"

namespace retnet {

// The parts of HOST:PORT, or of unix:PATH. An IPv6 address has brackets around it.
struct ListenAddress {
  std::string host;
  int32_t port = 0;
  std::string unix_path;  // of a unix-domain socket; empty for HOST:PORT
};
// INVALID_ARGUMENT says what is wrong.
absl::StatusOr<ListenAddress> ParseListenAddress(const std::string& text);
// The same for what does not listen on unix-domain sockets.
absl::StatusOr<ListenAddress> ParseHostAndPort(const std::string& text);

// Whether only this machine can reach the address: 127.0.0.0/8, [::1], localhost, or unix:PATH.
bool IsLoopback(const ListenAddress& address);

}  // namespace retnet

#endif  // RETNET_SERVER_OPS_LISTEN_ADDRESS_H_
