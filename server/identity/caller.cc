#include "server/identity/caller.h"

#include <grpc/grpc_security_constants.h>

#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "kernels/status_macros.h"
#include "server/identity/private_listener.h"

namespace retnet {
namespace {

Caller CallerFor(std::shared_ptr<Principal> principal) {
  // No peer's name has a space, so no principal takes the share of an address.
  Tenant tenant{.principal = absl::StrCat("principal ", principal->name()),
                .connection = "",
                .weight = principal->weight()};
  std::string owner = principal->name();
  return {
      .owner = std::move(owner), .tenant = std::move(tenant), .principal = std::move(principal)};
}

absl::string_view View(grpc::string_ref text) { return {text.data(), text.size()}; }

// The name in the certificate that the connection's client has shown, and that a CA has signed: its
// subject's common name, else its first alternative name. "" without one.
std::string CertifiedName(const grpc::CallbackServerContext& context) {
  const std::shared_ptr<const grpc::AuthContext> peer = context.auth_context();
  if (peer == nullptr || !peer->IsPeerAuthenticated()) return "";
  for (const char* property : {GRPC_X509_CN_PROPERTY_NAME, GRPC_X509_SAN_PROPERTY_NAME}) {
    for (const grpc::string_ref& value : peer->FindPropertyValues(property)) {
      if (!value.empty()) return std::string(View(value));
    }
  }
  return "";
}

}  // namespace

Tenant TenantOfPeer(const std::string& peer) {
  const bool has_port = peer.starts_with("ipv4:") || peer.starts_with("ipv6:");
  const size_t colon = has_port ? peer.rfind(':') : std::string::npos;
  if (colon == std::string::npos) return {.principal = peer, .connection = ""};
  return {.principal = peer.substr(0, colon), .connection = peer.substr(colon + 1)};
}

absl::StatusOr<Caller> CallerOf(const grpc::CallbackServerContext& context,
                                const Authenticator* authenticator) {
  const auto& metadata = context.client_metadata();
  if (authenticator == nullptr || IsPrivate(metadata)) {
    return Caller{
        .owner = "anonymous", .tenant = TenantOfPeer(context.peer()), .principal = nullptr};
  }
  const auto [header, end] = metadata.equal_range("authorization");
  if (header != end) {
    // Of two tokens none is the caller's.
    if (std::next(header) != end) return Unauthenticated();
    ASSIGN_OR_RETURN(std::shared_ptr<Principal> principal,
                     authenticator->OfHeader(View(header->second)));
    return CallerFor(std::move(principal));
  }
  const std::string name = CertifiedName(context);
  if (name.empty()) return Unauthenticated();
  return CallerFor(authenticator->Named(name));
}

}  // namespace retnet
