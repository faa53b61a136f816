#include "server/wire/caller.h"

namespace retnet {

Tenant TenantOfPeer(const std::string& peer) {
  const bool has_port = peer.starts_with("ipv4:") || peer.starts_with("ipv6:");
  const size_t colon = has_port ? peer.rfind(':') : std::string::npos;
  if (colon == std::string::npos) return {.principal = peer, .connection = ""};
  return {.principal = peer.substr(0, colon), .connection = peer.substr(colon + 1)};
}

Caller CallerOf(const grpc::CallbackServerContext& context) {
  return {.owner = "anonymous", .tenant = TenantOfPeer(context.peer())};
}

}  // namespace retnet
