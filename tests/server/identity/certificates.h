// Certificates for tests, made with the openssl command.
#ifndef RETNET_TESTS_SERVER_IDENTITY_CERTIFICATES_H_
#define RETNET_TESTS_SERVER_IDENTITY_CERTIFICATES_H_

#include <string>

namespace retnet {

std::string NewFolder();
std::string ReadText(const std::string& path);
void WriteText(const std::string& path, const std::string& text);

// The two files of a certificate, in PEM.
struct CertificateFiles {
  std::string certificate;
  std::string key;
};

// A CA (certificate authority) in a folder of its own.
class TestAuthority {
 public:
  TestAuthority();

  const std::string& certificate() const { return ca_.certificate; }
  // Signs a new certificate with this subject, such as "/CN=alice", and alternative names, such as
  // "IP:127.0.0.1". `days` below 0: it has expired.
  CertificateFiles Sign(const std::string& subject, const std::string& names = "",
                        int days = 30) const;
  // Of a server on this machine.
  CertificateFiles SignServer() const { return Sign("/CN=server", "IP:127.0.0.1,DNS:localhost"); }

 private:
  const std::string folder_;
  CertificateFiles ca_;
};

}  // namespace retnet

#endif  // RETNET_TESTS_SERVER_IDENTITY_CERTIFICATES_H_
