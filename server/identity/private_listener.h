// Marks the calls that come by the private listener, which asks nobody for a name.
#ifndef RETNET_SERVER_IDENTITY_PRIVATE_LISTENER_H_
#define RETNET_SERVER_IDENTITY_PRIVATE_LISTENER_H_

#include <grpcpp/support/server_interceptor.h>
#include <grpcpp/support/string_ref.h>

#include <map>

namespace retnet {

// For the gRPC server of the private listener alone. Its calls look like those of another listener,
// so each gets an entry more in its metadata.
class PrivateMark : public grpc::experimental::ServerInterceptorFactoryInterface {
 public:
  grpc::experimental::Interceptor* CreateServerInterceptor(
      grpc::experimental::ServerRpcInfo* call) override;

 private:
  class Marker;
};

// Whether the call has come by the private listener. No client can send the mark: what counts is
// the address in memory of its name.
bool IsPrivate(const std::multimap<grpc::string_ref, grpc::string_ref>& metadata);

}  // namespace retnet

#endif  // RETNET_SERVER_IDENTITY_PRIVATE_LISTENER_H_
