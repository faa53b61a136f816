// Ways to a server: lasting channels, and one that can break.
#ifndef RETNET_CLIENT_BENCH_CONNECTION_H_
#define RETNET_CLIENT_BENCH_CONNECTION_H_

#include <grpcpp/channel.h>

#include <memory>
#include <string>

#include "absl/status/statusor.h"

namespace retnet {

// A TCP connection of its own, shared with no other channel.
std::shared_ptr<grpc::Channel> NewChannel(const std::string& target);

// The same with the smallest windows: what is not read soon holds the server up.
std::shared_ptr<grpc::Channel> NewNarrowChannel(const std::string& target);

// A channel whose connection can be broken from here as if the client had died: nothing is said on
// the wire but that the socket is closed.
class BreakableConnection {
 public:
  // Connects, and so blocks. `target` is HOST:PORT.
  static absl::StatusOr<std::shared_ptr<BreakableConnection>> Open(const std::string& target);
  ~BreakableConnection();
  BreakableConnection(const BreakableConnection&) = delete;

  const std::shared_ptr<grpc::Channel>& channel() const { return channel_; }
  void Break();

 private:
  explicit BreakableConnection(int socket, const std::string& target);

  const int socket_;  // beside the one that gRPC owns, so that it cannot be closed under Break
  std::shared_ptr<grpc::Channel> channel_;
};

}  // namespace retnet

#endif  // RETNET_CLIENT_BENCH_CONNECTION_H_
