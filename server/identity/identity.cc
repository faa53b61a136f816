#include "server/identity/identity.h"

#include <sys/stat.h>

#include <chrono>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "kernels/status_macros.h"
#include "server/ops/logging.h"

namespace retnet {
namespace {

constexpr std::chrono::seconds kLookEvery(1);

// Differs when a file has been written or replaced.
std::string LookOf(const std::vector<std::string>& paths) {
  std::string look;
  for (const std::string& path : paths) {
    struct stat file = {};
    if (stat(path.c_str(), &file) != 0) file = {};
    absl::StrAppend(&look, file.st_dev, ":", file.st_ino, ":", file.st_size, ":",
                    file.st_mtim.tv_sec, ".", file.st_mtim.tv_nsec, " ");
  }
  return look;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Identity>> Identity::Open(const IdentityOptions& options) {
  std::unique_ptr<Identity> identity(new Identity);
  const auto watch = [&](std::vector<std::string> paths, std::function<absl::Status()> reload) {
    std::string look = LookOf(paths);
    identity->watched_.push_back({std::move(paths), std::move(reload), look, look});
  };
  // How the files look is noted before they are read: what is written meanwhile is read again.
  if (!options.auth_tokens.empty()) {
    watch({options.auth_tokens},
          [self = identity.get()] { return self->authenticator_->Reload(); });
    ASSIGN_OR_RETURN(identity->authenticator_, Authenticator::Open(options.auth_tokens));
  } else if (!options.tls.client_ca.empty()) {
    identity->authenticator_ = std::make_unique<Authenticator>();
  }
  if (!options.tls.certificate.empty()) {
    std::vector<std::string> paths = {options.tls.certificate, options.tls.key};
    if (!options.tls.client_ca.empty()) paths.push_back(options.tls.client_ca);
    watch(std::move(paths), [self = identity.get()] { return self->tls_->Reload(); });
    // With tokens a client may do without a certificate.
    ASSIGN_OR_RETURN(identity->tls_,
                     TlsFiles::Open(options.tls, /*certificate_required=*/
                                    !options.tls.client_ca.empty() && options.auth_tokens.empty()));
  }
  if (!identity->watched_.empty()) {
    identity->thread_ = std::thread([self = identity.get()] { self->Watch(); });
  }
  return identity;
}

Identity::~Identity() {
  {
    const MutexLock lock(&mu_);
    ending_ = true;
    end_.NotifyAll();
  }
  if (thread_.joinable()) thread_.join();
}

std::shared_ptr<grpc::ServerCredentials> Identity::Credentials() const {
  return tls_ != nullptr ? tls_->Credentials() : grpc::InsecureServerCredentials();
}

absl::Status Identity::Reload() {
  absl::Status status = authenticator_ != nullptr ? authenticator_->Reload() : absl::OkStatus();
  if (tls_ != nullptr) status.Update(tls_->Reload());
  return status;
}

void Identity::Watch() {
  while (true) {
    {
      MutexLock lock(&mu_);
      const auto next = std::chrono::system_clock::now() + kLookEvery;
      while (!ending_ && end_.WaitUntil(&mu_, next)) continue;
      if (ending_) return;
    }
    for (Watched& watched : watched_) Look(&watched);
  }
}

void Identity::Look(Watched* watched) {
  const std::string look = LookOf(watched->paths);
  const bool settled = look == std::exchange(watched->seen, look);
  // Files that are replaced one after another are read together, once they stay as they are.
  if (!settled || look == watched->read) return;
  watched->read = look;
  const std::string names = absl::StrJoin(watched->paths, ", ");
  if (const absl::Status status = watched->reload(); status.ok()) {
    Log(LogLevel::kInfo, absl::StrCat("read again, because of a change: ", names));
  } else {
    Log(LogLevel::kError, absl::StrCat("cannot read again: ", status.message(),
                                       "; what was read before stays in use"));
  }
}

}  // namespace retnet
