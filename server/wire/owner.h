// Whose call it is.
#ifndef RETNET_SERVER_WIRE_OWNER_H_
#define RETNET_SERVER_WIRE_OWNER_H_

#include <grpcpp/server_context.h>

#include <string>

namespace retnet {

// The authenticated principal, to whom sessions and cached prefixes belong. The server has no
// authentication, so everybody is "anonymous"; every call asks here all the same.
inline std::string OwnerOf(const grpc::CallbackServerContext& /*context*/) { return "anonymous"; }

}  // namespace retnet

#endif  // RETNET_SERVER_WIRE_OWNER_H_
