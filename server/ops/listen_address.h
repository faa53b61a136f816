// Where a server listens: HOST:PORT.
#ifndef RETNET_SERVER_OPS_LISTEN_ADDRESS_H_
#define RETNET_SERVER_OPS_LISTEN_ADDRESS_H_

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"

namespace retnet {

// The parts of HOST:PORT. An IPv6 address has brackets around it.
struct ListenAddress {
  std::string host;
  int32_t port = 0;
};
// INVALID_ARGUMENT says what is wrong.
absl::StatusOr<ListenAddress> ParseListenAddress(const std::string& text);

}  // namespace retnet

#endif  // RETNET_SERVER_OPS_LISTEN_ADDRESS_H_
