// Connections to a server: ordinary channels, and one that can be broken on purpose.
#ifndef RETNET_CLIENT_BENCH_CONNECTION_H_
#define RETNET_CLIENT_BENCH_CONNECTION_H_

#include <grpcpp/channel.h>

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "client/access.h"

namespace retnet {

// A channel with a TCP connection that no other channel shares.
std::shared_ptr<grpc::Channel> NewChannel(const std::string& target, const Access& access = {});

// The same with the smallest flow-control windows: the server soon has to wait for a reader that
// pauses.
std::shared_ptr<grpc::Channel> NewNarrowChannel(const std::string& target,
                                                const Access& access = {});

// A channel whose connection can be broken as if the client had died: the socket closes and nothing
// else is sent.
class BreakableConnection {
 public:
  // Connects to `target` (HOST:PORT). Blocks until connected. FAILED_PRECONDITION with TLS, which
  // gRPC does not speak over the socket of another.
  static absl::StatusOr<std::shared_ptr<BreakableConnection>> Open(const std::string& target,
                                                                   const Access& access = {});
  ~BreakableConnection();
  BreakableConnection(const BreakableConnection&) = delete;

  const std::shared_ptr<grpc::Channel>& channel() const { return channel_; }
  void Break();

 private:
  BreakableConnection(int socket, const std::string& target, const Access& access);

  const int socket_;  // our duplicate of gRPC's descriptor: gRPC cannot close it during Break
  std::shared_ptr<grpc::Channel> channel_;
};

}  // namespace retnet

#endif  // RETNET_CLIENT_BENCH_CONNECTION_H_
