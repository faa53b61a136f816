#include "server/ops/listener.h"

#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <cerrno>
#include <cstring>
#include <memory>

#include "absl/strings/str_cat.h"
#include "kernels/status_macros.h"

namespace retnet {
namespace {

// A port that is free for the first address of a host may be in use for the next one.
constexpr int kTriesForAPort = 16;

absl::Status CannotListen(const std::string& address, absl::string_view why,
                          const ListenerOptions& options) {
  return absl::FailedPreconditionError(absl::StrCat("cannot listen on ", address, ": ", why,
                                                    "; choose another with ", options.flag,
                                                    " HOST:PORT (port 0: any free one)"));
}

// Why bind() or listen() refuses.
std::string Reason(int error) {
  switch (error) {
    case EADDRINUSE:
      return "the port is in use";
    case EADDRNOTAVAIL:
      return "the address is not this machine's";
    case EACCES:
      return "this user may not use the port";
    default:
      return std::strerror(error);
  }
}

FileDescriptor NewSocket(int family) {
  return FileDescriptor(socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
}

void SetOption(const FileDescriptor& socket, int level, int name, int value) {
  setsockopt(socket.get(), level, name, &value, sizeof(value));
}

// A listening TCP socket. On failure it is not valid and errno says why.
FileDescriptor ListenTcp(const sockaddr* address, socklen_t size, const ListenerOptions& options) {
  FileDescriptor socket = NewSocket(address->sa_family);
  if (!socket.valid()) return socket;
  // Connections of an earlier process may still be closing. A second server on the port stays an
  // error: that would be SO_REUSEPORT.
  SetOption(socket, SOL_SOCKET, SO_REUSEADDR, 1);
  if (address->sa_family == AF_INET6) {
    const auto* v6 = reinterpret_cast<const sockaddr_in6*>(address);
    SetOption(socket, IPPROTO_IPV6, IPV6_V6ONLY, IN6_IS_ADDR_UNSPECIFIED(&v6->sin6_addr) ? 0 : 1);
  }
  // Connections inherit these two.
  SetOption(socket, IPPROTO_TCP, TCP_NODELAY, 1);
  if (options.unacknowledged > absl::ZeroDuration()) {
    SetOption(socket, IPPROTO_TCP, TCP_USER_TIMEOUT,
              static_cast<int>(absl::ToInt64Milliseconds(options.unacknowledged)));
  }
  if (bind(socket.get(), address, size) != 0 || listen(socket.get(), SOMAXCONN) != 0) {
    const int error = errno;
    socket.Close();
    errno = error;
  }
  return socket;
}

int PortOf(const FileDescriptor& socket) {
  sockaddr_storage address = {};
  socklen_t size = sizeof(address);
  getsockname(socket.get(), reinterpret_cast<sockaddr*>(&address), &size);
  return ntohs(address.ss_family == AF_INET6
                   ? reinterpret_cast<const sockaddr_in6*>(&address)->sin6_port
                   : reinterpret_cast<const sockaddr_in*>(&address)->sin_port);
}

void SetPort(sockaddr* address, int port) {
  auto& place = address->sa_family == AF_INET6 ? reinterpret_cast<sockaddr_in6*>(address)->sin6_port
                                               : reinterpret_cast<sockaddr_in*>(address)->sin_port;
  place = htons(static_cast<uint16_t>(port));
}

using Addresses = std::unique_ptr<addrinfo, void (*)(addrinfo*)>;

absl::StatusOr<Addresses> Resolve(std::string host, const std::string& text,
                                  const ListenerOptions& options) {
  if (host.front() == '[') host = host.substr(1, host.size() - 2);
  // One socket for both kinds, as far as the machine has IPv6.
  if (host == "0.0.0.0" && NewSocket(AF_INET6).valid()) host = "::";
  if (host == "::" && !NewSocket(AF_INET6).valid()) host = "0.0.0.0";
  addrinfo hints = {};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE;
  addrinfo* found = nullptr;
  const int error = getaddrinfo(host.c_str(), nullptr, &hints, &found);
  if (error != 0) {
    return CannotListen(
        text, absl::StrCat("the host name does not resolve (", gai_strerror(error), ")"), options);
  }
  return Addresses(found, freeaddrinfo);
}

// Binds one socket for each address, all to the same port. The errno of the address that kept it
// from that, or 0. An address that the machine does not have is left out if it has another.
int ListenOnAll(const addrinfo* addresses, int port, const ListenerOptions& options,
                std::vector<FileDescriptor>* sockets) {
  int absent = 0;
  for (const addrinfo* each = addresses; each != nullptr; each = each->ai_next) {
    if (each->ai_family != AF_INET && each->ai_family != AF_INET6) continue;
    SetPort(each->ai_addr, sockets->empty() ? port : PortOf(sockets->front()));
    FileDescriptor socket = ListenTcp(each->ai_addr, each->ai_addrlen, options);
    if (socket.valid()) {
      sockets->push_back(std::move(socket));
    } else if (errno == EADDRNOTAVAIL || errno == EAFNOSUPPORT) {
      absent = errno;
    } else {
      return errno;
    }
  }
  return sockets->empty() ? (absent != 0 ? absent : EADDRNOTAVAIL) : 0;
}

sockaddr_un UnixAddress(const std::string& path) {
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  path.copy(address.sun_path, sizeof(address.sun_path) - 1);
  return address;
}

// Makes way for a socket at `path`: removes the file of a socket that nobody listens on.
absl::Status RemoveStale(const std::string& path, const std::string& text,
                         const ListenerOptions& options) {
  struct stat file = {};
  if (lstat(path.c_str(), &file) != 0) return absl::OkStatus();
  if (!S_ISSOCK(file.st_mode)) {
    return CannotListen(text, "a file that is not a socket is there", options);
  }
  const FileDescriptor probe = NewSocket(AF_UNIX);
  const sockaddr_un address = UnixAddress(path);
  const int connected =
      connect(probe.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address));
  if (connected == 0 || errno != ECONNREFUSED) {
    return CannotListen(text, "another process listens there, or the socket is not this user's",
                        options);
  }
  unlink(path.c_str());
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<Listener> Listener::BindUnix(const ListenAddress& address,
                                            const ListenerOptions& options) {
  Listener listener;
  listener.address_ = absl::StrCat("unix:", address.unix_path);
  RETURN_IF_ERROR(RemoveStale(address.unix_path, listener.address_, options));
  FileDescriptor socket = NewSocket(AF_UNIX);
  const sockaddr_un where = UnixAddress(address.unix_path);
  struct stat file = {};
  if (!socket.valid() ||
      bind(socket.get(), reinterpret_cast<const sockaddr*>(&where), sizeof(where)) != 0 ||
      lstat(address.unix_path.c_str(), &file) != 0) {
    return CannotListen(listener.address_, std::strerror(errno), options);
  }
  listener.unix_file_ = {address.unix_path, file.st_dev, file.st_ino};
  if (listen(socket.get(), SOMAXCONN) != 0) {
    return CannotListen(listener.address_, std::strerror(errno), options);
  }
  listener.sockets_.push_back(std::move(socket));
  return listener;
}

absl::StatusOr<Listener> Listener::BindHost(const ListenAddress& address,
                                            const ListenerOptions& options) {
  const std::string text = absl::StrCat(address.host, ":", address.port);
  ASSIGN_OR_RETURN(const Addresses found, Resolve(address.host, text, options));
  Listener listener;
  int error = 0;
  const int tries = address.port == 0 ? kTriesForAPort : 1;
  for (int i = 0; i < tries; ++i) {
    listener.sockets_.clear();
    error = ListenOnAll(found.get(), address.port, options, &listener.sockets_);
    if (error != EADDRINUSE) break;
  }
  if (error != 0) return CannotListen(text, Reason(error), options);
  listener.address_ = absl::StrCat(address.host, ":", PortOf(listener.sockets_.front()));
  return listener;
}

absl::StatusOr<Listener> Listener::Bind(const std::string& address,
                                        const ListenerOptions& options) {
  ASSIGN_OR_RETURN(const ListenAddress parsed, ParseListenAddress(address));
  return parsed.unix_path.empty() ? BindHost(parsed, options) : BindUnix(parsed, options);
}

Listener::~Listener() {
  struct stat file = {};
  if (!unix_file_.path.empty() && lstat(unix_file_.path.c_str(), &file) == 0 &&
      file.st_dev == unix_file_.device && file.st_ino == unix_file_.inode) {
    unlink(unix_file_.path.c_str());
  }
}

}  // namespace retnet
