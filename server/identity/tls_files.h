// The certificates of a server: read from files, checked, and handed to gRPC.
#ifndef RETNET_SERVER_IDENTITY_TLS_FILES_H_
#define RETNET_SERVER_IDENTITY_TLS_FILES_H_

#include <grpcpp/security/server_credentials.h>
#include <grpcpp/security/tls_certificate_provider.h>

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "kernels/mutex.h"
#include "server/ops/file_descriptor.h"

namespace retnet {

// Paths of PEM files.
struct TlsOptions {
  std::string certificate;  // the server's, with those between it and its CA. Empty: no TLS
  std::string key;          // of the certificate
  std::string client_ca;    // who signs clients' certificates. Empty: clients are not asked for any
};

// gRPC's certificate provider reads files each second and takes what it finds: a torn file, or the
// certificate of one pair with the key of the next, would shut out every new client. So it watches
// copies in memory, which change only when the files are right. Thread-safe.
class TlsFiles {
 public:
  // INVALID_ARGUMENT names the file that is not right. Whether a client must show a certificate:
  // `certificate_required`; else it may.
  static absl::StatusOr<std::unique_ptr<TlsFiles>> Open(const TlsOptions& options,
                                                        bool certificate_required);

  // For a server's listener. Connections that are there keep the certificates they began with.
  std::shared_ptr<grpc::ServerCredentials> Credentials() const;
  // Reads the files again. After an error what was read before stays in use.
  absl::Status Reload();
  const TlsOptions& options() const { return options_; }

 private:
  TlsFiles(const TlsOptions& options, bool certificate_required)
      : options_(options), certificate_required_(certificate_required) {}

  const TlsOptions options_;
  const bool certificate_required_;
  Mutex mu_;
  // Files in memory. The numbers never change after Open. What they stand for does, all of a file
  // at once.
  FileDescriptor identity_;   // certificate and key
  FileDescriptor client_ca_;  // if there is a client_ca
  std::shared_ptr<grpc::experimental::FileWatcherCertificateProvider> provider_;  // after Open
};

}  // namespace retnet

#endif  // RETNET_SERVER_IDENTITY_TLS_FILES_H_
