// Says who makes a call.
#ifndef RETNET_SERVER_WIRE_CALLER_H_
#define RETNET_SERVER_WIRE_CALLER_H_

#include <grpcpp/server_context.h>

#include <string>

#include "engine/request.h"

namespace retnet {

struct Caller {
  // The principal that sessions and cached prefixes belong to. The server has no authentication, so
  // every caller is "anonymous".
  std::string owner;
  // Whose share of the engine the call uses: the peer's address, and its connection.
  Tenant tenant;
};

// Every call asks here.
Caller CallerOf(const grpc::CallbackServerContext& context);

// The tenant of a peer as gRPC names it, such as ipv4:127.0.0.1:40312 or ipv6:%5B::1%5D:40312: the
// port tells the connections of an address apart.
Tenant TenantOfPeer(const std::string& peer);

}  // namespace retnet

#endif  // RETNET_SERVER_WIRE_CALLER_H_
