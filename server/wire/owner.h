// Says who makes a call.
#ifndef RETNET_SERVER_WIRE_OWNER_H_
#define RETNET_SERVER_WIRE_OWNER_H_

#include <grpcpp/server_context.h>

#include <string>

namespace retnet {

// The authenticated principal of a call. Sessions and cached prefixes belong to a principal. The
// server has no authentication, so every principal is "anonymous". Every call asks here.
inline std::string OwnerOf(const grpc::CallbackServerContext& /*context*/) { return "anonymous"; }

}  // namespace retnet

#endif  // RETNET_SERVER_WIRE_OWNER_H_
