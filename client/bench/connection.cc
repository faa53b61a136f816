#include "client/bench/connection.h"

#include <fcntl.h>
#include <grpcpp/support/channel_arguments.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "client/client.h"

namespace retnet {
namespace {

grpc::ChannelArguments Arguments(const std::string& target) {
  grpc::ChannelArguments arguments;
  AvoidProxyOnLoopback(target, &arguments);
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  arguments.SetMaxReceiveMessageSize(-1);
  return arguments;
}

// A connected socket, or -1.
int ConnectedSocket(const std::string& host, const std::string& port) {
  addrinfo hints = {};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* addresses = nullptr;
  if (getaddrinfo(host.c_str(), port.c_str(), &hints, &addresses) != 0) return -1;
  int connected = -1;
  for (const addrinfo* address = addresses; address != nullptr && connected < 0;
       address = address->ai_next) {
    const int candidate = socket(address->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (candidate < 0) continue;
    if (connect(candidate, address->ai_addr, address->ai_addrlen) == 0) {
      connected = candidate;
    } else {
      close(candidate);
    }
  }
  freeaddrinfo(addresses);
  return connected;
}

}  // namespace

std::shared_ptr<grpc::Channel> NewChannel(const std::string& target, const Access& access) {
  return NewChannel(target, access, Arguments(target));
}

std::shared_ptr<grpc::Channel> NewNarrowChannel(const std::string& target, const Access& access) {
  grpc::ChannelArguments arguments = Arguments(target);
  arguments.SetInt(GRPC_ARG_HTTP2_STREAM_LOOKAHEAD_BYTES, 1);
  arguments.SetInt(GRPC_ARG_HTTP2_BDP_PROBE, 0);
  return NewChannel(target, access, arguments);
}

absl::StatusOr<std::shared_ptr<BreakableConnection>> BreakableConnection::Open(
    const std::string& target, const Access& access) {
  if (access.tls) {
    return absl::FailedPreconditionError("connections with TLS cannot be broken on purpose");
  }
  const size_t colon = target.rfind(':');
  if (colon == std::string::npos) {
    return absl::InvalidArgumentError(absl::StrCat(target, " is not HOST:PORT"));
  }
  std::string host = target.substr(0, colon);
  if (host.size() > 2 && host.front() == '[' && host.back() == ']') {
    host = host.substr(1, host.size() - 2);
  }
  const int socket = ConnectedSocket(host, target.substr(colon + 1));
  if (socket < 0) return absl::UnavailableError(absl::StrCat("cannot connect to ", target));
  const int on = 1;
  setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
  fcntl(socket, F_SETFL, fcntl(socket, F_GETFL) | O_NONBLOCK);
  return std::shared_ptr<BreakableConnection>(new BreakableConnection(socket, target, access));
}

BreakableConnection::BreakableConnection(int socket, const std::string& target,
                                         const Access& access)
    : socket_(fcntl(socket, F_DUPFD_CLOEXEC, 0)),
      channel_(NewChannelFromSocket(target, socket, access, Arguments(target))) {}

BreakableConnection::~BreakableConnection() { close(socket_); }

void BreakableConnection::Break() { shutdown(socket_, SHUT_RDWR); }

}  // namespace retnet
