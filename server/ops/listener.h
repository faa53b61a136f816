// The sockets on which a server listens.
#ifndef RETNET_SERVER_OPS_LISTENER_H_
#define RETNET_SERVER_OPS_LISTENER_H_

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "server/ops/file_descriptor.h"
#include "server/ops/listen_address.h"

namespace retnet {

struct ListenerOptions {
  std::string flag = "--listen";  // that errors name
  // Time after which a connection ends whose peer does not acknowledge what was sent to it. Zero:
  // the system's.
  absl::Duration unacknowledged = absl::ZeroDuration();
};

// Bound and listening sockets. Closes them in the destructor, and removes the file of a unix-domain
// socket.
class Listener {
 public:
  // Binds to `address`, HOST:PORT or unix:PATH. A host name is bound to all of its addresses on
  // this machine. 0.0.0.0 and [::] both mean every address, IPv4 and IPv6. The file of a
  // unix-domain socket that nobody listens on any more is replaced. FAILED_PRECONDITION says what
  // is wrong.
  static absl::StatusOr<Listener> Bind(const std::string& address, const ListenerOptions& options);

  Listener(Listener&& other) noexcept
      : sockets_(std::exchange(other.sockets_, {})),
        address_(std::move(other.address_)),
        unix_file_(std::exchange(other.unix_file_, {})) {}
  ~Listener();

  const std::vector<FileDescriptor>& sockets() const { return sockets_; }
  // HOST:PORT with the port in use, or unix:PATH.
  const std::string& address() const { return address_; }

 private:
  // A file that bind() has made. Its numbers tell it from one that somebody put in its place.
  struct UnixFile {
    std::string path;  // empty: none
    uint64_t device = 0;
    uint64_t inode = 0;
  };
  Listener() = default;
  static absl::StatusOr<Listener> BindUnix(const ListenAddress& address,
                                           const ListenerOptions& options);
  static absl::StatusOr<Listener> BindHost(const ListenAddress& address,
                                           const ListenerOptions& options);

  std::vector<FileDescriptor> sockets_;
  std::string address_;
  UnixFile unix_file_;
};

}  // namespace retnet

#endif  // RETNET_SERVER_OPS_LISTENER_H_
