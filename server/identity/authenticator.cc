#include "server/identity/authenticator.h"

#include <openssl/crypto.h>

#include <algorithm>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "kernels/status_macros.h"

namespace retnet {

absl::Status Unauthenticated() {
  return absl::UnauthenticatedError(
      "this server wants to know who calls: send a valid token as \"authorization: Bearer "
      "ID.SECRET\", or a certificate that it accepts");
}

absl::StatusOr<std::unique_ptr<Authenticator>> Authenticator::Open(const std::string& token_file) {
  auto authenticator = std::make_unique<Authenticator>();
  authenticator->token_file_ = token_file;
  RETURN_IF_ERROR(authenticator->Reload());
  return authenticator;
}

std::shared_ptr<const Authenticator::Table> Authenticator::table() const {
  const MutexLock lock(&mu_);
  return table_;
}

absl::StatusOr<std::shared_ptr<Principal>> Authenticator::OfHeader(
    absl::string_view authorization) const {
  // An id that nobody has: no secret fits its hash.
  static const Entry& unknown = *new Entry;
  constexpr absl::string_view kScheme = "bearer ";
  const bool is_bearer = absl::StartsWithIgnoreCase(authorization, kScheme);
  const absl::string_view token = authorization.substr(is_bearer ? kScheme.size() : 0);
  const size_t dot = std::min(token.find('.'), token.size());
  const absl::string_view id = token.substr(0, dot);
  const absl::string_view secret = token.substr(std::min(dot + 1, token.size()));

  const std::shared_ptr<const Table> table = this->table();
  const auto found = table->tokens.find(id);
  const Entry& entry = found == table->tokens.end() ? unknown : found->second;
  const Sha256 hash = HashSecret(entry.token.salt, secret.substr(0, kSecretDigits));
  const bool same = CRYPTO_memcmp(hash.data(), entry.token.hash.data(), hash.size()) == 0;
  if (!is_bearer || !same || secret.size() != kSecretDigits || entry.principal == nullptr) {
    return Unauthenticated();
  }
  return entry.principal;
}

std::shared_ptr<Principal> Authenticator::Named(const std::string& name) const {
  const std::shared_ptr<const Table> table = this->table();
  const auto found = table->principals.find(name);
  return found == table->principals.end() ? std::make_shared<Principal>(name) : found->second;
}

absl::Status Authenticator::Reload() {
  if (token_file_.empty()) return absl::OkStatus();
  const MutexLock reloading(&reloading_);
  ASSIGN_OR_RETURN(TokenFile file, ReadTokenFile(token_file_));
  const std::shared_ptr<const Table> old = table();
  auto table = std::make_shared<Table>();
  const auto principal_of = [&](const std::string& name) {
    std::shared_ptr<Principal>& principal = table->principals[name];
    if (principal != nullptr) return principal;
    const auto limits = file.limits.find(name);
    const PrincipalLimits bounds = limits == file.limits.end() ? PrincipalLimits() : limits->second;
    if (const auto known = old->principals.find(name); known != old->principals.end()) {
      principal = known->second;
      principal->SetLimits(bounds);
    } else {
      principal = std::make_shared<Principal>(name, bounds);
    }
    return principal;
  };
  for (const auto& [name, limits] : file.limits) principal_of(name);
  for (StoredToken& token : file.tokens) {
    std::shared_ptr<Principal> principal = principal_of(token.principal);
    std::string id = token.id;
    table->tokens.emplace(std::move(id), Entry{std::move(token), std::move(principal)});
  }
  const MutexLock lock(&mu_);
  table_ = std::move(table);
  return absl::OkStatus();
}

}  // namespace retnet
