// Who may call a server, and by which certificates the server is known: the files that say so, kept
// up to date.
#ifndef RETNET_SERVER_IDENTITY_IDENTITY_H_
#define RETNET_SERVER_IDENTITY_IDENTITY_H_

#include <grpcpp/security/server_credentials.h>

#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "kernels/mutex.h"
#include "server/identity/authenticator.h"
#include "server/identity/tls_files.h"

namespace retnet {

struct IdentityOptions {
  std::string auth_tokens;  // path of a file of tokens. Empty: no tokens
  TlsOptions tls;
};

// A thread of its own looks at the files each second. Thread-safe.
class Identity {
 public:
  static absl::StatusOr<std::unique_ptr<Identity>> Open(const IdentityOptions& options);
  ~Identity();
  Identity(const Identity&) = delete;

  // null: everybody may call.
  const Authenticator* authenticator() const { return authenticator_.get(); }
  // For the server's listener.
  std::shared_ptr<grpc::ServerCredentials> Credentials() const;
  // Reads all files again now. Each that is wrong keeps its old content; the first error is
  // returned.
  absl::Status Reload();

 private:
  // Files that are read together.
  struct Watched {
    std::vector<std::string> paths;
    std::function<absl::Status()> reload;
    std::string read;  // how the files looked when they were last read
    std::string seen;  // how they looked last time
  };
  Identity() = default;
  void Watch();
  static void Look(Watched* watched);

  std::unique_ptr<Authenticator> authenticator_;
  std::unique_ptr<TlsFiles> tls_;  // null: no TLS
  std::vector<Watched> watched_;   // the thread's, once it runs
  Mutex mu_;
  CondVar end_;
  bool ending_ ABSL_GUARDED_BY(mu_) = false;
  std::thread thread_;
};

}  // namespace retnet

#endif  // RETNET_SERVER_IDENTITY_IDENTITY_H_
