#include "server/ops/grpc_acceptor.h"

#include <utility>

namespace retnet {
namespace {

// What is left for files of the store and of the model, a scrape of the metrics, and gRPC itself.
constexpr int kReservedDescriptors = 24;

}  // namespace

GrpcAcceptor::GrpcAcceptor(Listener listener, std::shared_ptr<grpc::ServerCredentials> credentials,
                           grpc::ServerBuilder* builder)
    : address_(listener.address()),
      listener_(std::move(listener)),
      server_(builder->experimental().AddExternalConnectionAcceptor(
          grpc::ServerBuilder::experimental_type::ExternalConnectionType::FROM_FD,
          std::move(credentials))) {}

void GrpcAcceptor::Start(Acceptor::Failed failed) {
  acceptor_.emplace(
      *std::move(listener_), kReservedDescriptors,
      [this](FileDescriptor connection, int listening_socket) {
        grpc::experimental::ExternalConnectionAcceptor::NewConnectionParameters parameters;
        parameters.listener_fd = listening_socket;
        parameters.fd = connection.Release();
        server_->HandleNewConnection(&parameters);
      },
      std::move(failed));
  listener_.reset();
}

}  // namespace retnet
