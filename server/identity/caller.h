// Says who makes a call.
#ifndef RETNET_SERVER_IDENTITY_CALLER_H_
#define RETNET_SERVER_IDENTITY_CALLER_H_

#include <grpcpp/server_context.h>

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "engine/request.h"
#include "server/identity/authenticator.h"
#include "server/identity/principal.h"

namespace retnet {

struct Caller {
  // What sessions and cached prefixes belong to: the principal's name, or "anonymous".
  std::string owner;
  // Whose share of the engine the call uses: the principal's, or without authentication that of the
  // peer's address, divided among its connections.
  Tenant tenant;
  // Whose limits hold. null: nobody's.
  std::shared_ptr<Principal> principal;
};

// UNAUTHENTICATED if the authenticator knows neither the call's token nor, without a token, a
// certificate of its connection. Everybody is anonymous where there is no authenticator (null), and
// on the private listener.
absl::StatusOr<Caller> CallerOf(const grpc::CallbackServerContext& context,
                                const Authenticator* authenticator);

// The tenant of a peer as gRPC names it, such as ipv4:127.0.0.1:40312 or ipv6:%5B::1%5D:40312: the
// port tells the connections of an address apart.
Tenant TenantOfPeer(const std::string& peer);

}  // namespace retnet

#endif  // RETNET_SERVER_IDENTITY_CALLER_H_
