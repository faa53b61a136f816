#include "server/identity/tls_files.h"

#include <fcntl.h>
#include <grpcpp/security/tls_credentials_options.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "kernels/status_macros.h"
#include "server/identity/token_file.h"
#include "server/ops/logging.h"

namespace retnet {
namespace {

constexpr int kRefreshSeconds = 1;

using Bio = std::unique_ptr<BIO, decltype(&BIO_free)>;
using Certificate = std::unique_ptr<X509, decltype(&X509_free)>;
using Key = std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)>;

Bio Reader(absl::string_view text) {
  return Bio(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())), &BIO_free);
}

// Says that there is no password, where OpenSSL would ask the terminal.
int NoPassword(char* /*buffer*/, int /*size*/, int /*writes*/, void* /*data*/) { return -1; }

Certificate NextCertificate(BIO* reader) {
  Certificate certificate(PEM_read_bio_X509(reader, nullptr, &NoPassword, nullptr), &X509_free);
  ERR_clear_error();  // of the end of the file
  return certificate;
}

absl::Status Wrong(const std::string& path, absl::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat(path, " ", what));
}

// The text of certificate and key. Warns of a certificate that has expired.
absl::StatusOr<std::string> ReadIdentity(const TlsOptions& options) {
  ASSIGN_OR_RETURN(const std::string chain, ReadSmallFile(options.certificate));
  ASSIGN_OR_RETURN(const std::string key_text, ReadSmallFile(options.key));
  const Certificate certificate = NextCertificate(Reader(chain).get());
  if (certificate == nullptr) return Wrong(options.certificate, "has no certificate in PEM");
  const Key key(PEM_read_bio_PrivateKey(Reader(key_text).get(), nullptr, &NoPassword, nullptr),
                &EVP_PKEY_free);
  ERR_clear_error();
  if (key == nullptr) {
    return Wrong(options.key, "has no private key in PEM that needs no password");
  }
  const bool fits = X509_check_private_key(certificate.get(), key.get()) == 1;
  ERR_clear_error();
  if (!fits) {
    return Wrong(options.key,
                 absl::StrCat("is not the key of the certificate in ", options.certificate));
  }
  if (X509_cmp_current_time(X509_get0_notAfter(certificate.get())) < 0) {
    Log(LogLevel::kWarning, absl::StrCat(options.certificate, " has expired"));
  }
  return absl::StrCat(chain, "\n", key_text);
}

absl::StatusOr<std::string> ReadAuthorities(const std::string& path) {
  ASSIGN_OR_RETURN(std::string text, ReadSmallFile(path));
  if (NextCertificate(Reader(text).get()) == nullptr) {
    return Wrong(path, "has no certificate in PEM");
  }
  return text;
}

// Lets `*descriptor` stand for a file in memory with this content.
absl::Status Put(absl::string_view text, FileDescriptor* descriptor) {
  constexpr absl::string_view kError = "cannot keep certificates in memory";
  FileDescriptor file(memfd_create("retnet-tls", MFD_CLOEXEC));
  if (!file.valid()) return absl::ErrnoToStatus(errno, kError);
  while (!text.empty()) {
    const ssize_t written = write(file.get(), text.data(), text.size());
    if (written <= 0) return absl::ErrnoToStatus(errno, kError);
    text.remove_prefix(written);
  }
  if (!descriptor->valid()) {
    *descriptor = std::move(file);
  } else if (dup3(file.get(), descriptor->get(), O_CLOEXEC) < 0) {
    return absl::ErrnoToStatus(errno, kError);
  }
  return absl::OkStatus();
}

std::string PathOf(const FileDescriptor& file) {
  return file.valid() ? absl::StrCat("/proc/self/fd/", file.get()) : "";
}

}  // namespace

absl::StatusOr<std::unique_ptr<TlsFiles>> TlsFiles::Open(const TlsOptions& options,
                                                         bool certificate_required) {
  std::unique_ptr<TlsFiles> files(new TlsFiles(options, certificate_required));
  RETURN_IF_ERROR(files->Reload());
  if (access(PathOf(files->identity_).c_str(), R_OK) != 0) {
    return absl::ErrnoToStatus(errno, "TLS needs /proc, which cannot be used");
  }
  files->provider_ = std::make_shared<grpc::experimental::FileWatcherCertificateProvider>(
      PathOf(files->identity_), PathOf(files->identity_), PathOf(files->client_ca_),
      kRefreshSeconds);
  return files;
}

std::shared_ptr<grpc::ServerCredentials> TlsFiles::Credentials() const {
  grpc::experimental::TlsServerCredentialsOptions options(provider_);
  options.watch_identity_key_cert_pairs();
  if (client_ca_.valid()) {
    options.watch_root_certs();
    options.set_cert_request_type(certificate_required_
                                      ? GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY
                                      : GRPC_SSL_REQUEST_CLIENT_CERTIFICATE_AND_VERIFY);
  }
  return grpc::experimental::TlsServerCredentials(options);
}

absl::Status TlsFiles::Reload() {
  const MutexLock lock(&mu_);
  ASSIGN_OR_RETURN(const std::string identity, ReadIdentity(options_));
  std::string authorities;
  if (!options_.client_ca.empty()) {
    ASSIGN_OR_RETURN(authorities, ReadAuthorities(options_.client_ca));
  }
  RETURN_IF_ERROR(Put(identity, &identity_));
  return options_.client_ca.empty() ? absl::OkStatus() : Put(authorities, &client_ca_);
}

}  // namespace retnet
