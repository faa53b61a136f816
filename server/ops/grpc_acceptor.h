// Gives accepted connections to a gRPC server.
#ifndef RETNET_SERVER_OPS_GRPC_ACCEPTOR_H_
#define RETNET_SERVER_OPS_GRPC_ACCEPTOR_H_

#include <grpcpp/security/server_credentials.h>
#include <grpcpp/server_builder.h>

#include <memory>
#include <optional>
#include <string>

#include "server/ops/acceptor.h"
#include "server/ops/listener.h"

namespace retnet {

// In place of ServerBuilder::AddListeningPort: gRPC's own loop stops accepting for good once it has
// run out of descriptors. A server may have several, each with its own credentials.
// Thread-compatible.
class GrpcAcceptor {
 public:
  // Call this before the server is built.
  GrpcAcceptor(Listener listener, std::shared_ptr<grpc::ServerCredentials> credentials,
               grpc::ServerBuilder* builder);

  // Begins to accept. Call this once the server is built. `failed` is called on another thread.
  void Start(Acceptor::Failed failed);
  // Stops accepting and listening. Call this before the server's Shutdown, which does not take
  // connections any more.
  void Stop() { acceptor_.reset(); }

  // HOST:PORT with the port in use, or unix:PATH.
  const std::string& address() const { return address_; }

 private:
  const std::string address_;
  std::optional<Listener> listener_;  // until Start
  const std::unique_ptr<grpc::experimental::ExternalConnectionAcceptor> server_;
  std::optional<Acceptor> acceptor_;  // from Start to Stop; ends first
};

}  // namespace retnet

#endif  // RETNET_SERVER_OPS_GRPC_ACCEPTOR_H_
