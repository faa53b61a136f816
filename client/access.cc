#include "client/access.h"

#include <grpcpp/create_channel.h>
#include <grpcpp/create_channel_posix.h>
#include <grpcpp/security/credentials.h>
#include <grpcpp/support/client_interceptor.h>

#include <cstdlib>
#include <fstream>
#include <iterator>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "kernels/status_macros.h"

namespace retnet {
namespace {

using InterceptorFactory = grpc::experimental::ClientInterceptorFactoryInterface;

absl::StatusOr<std::string> ReadFile(const std::string& path) {
  if (path.empty()) return "";
  std::ifstream file(path, std::ios::binary);
  std::string text(std::istreambuf_iterator<char>(file), {});
  if (!file || text.empty()) {
    return absl::InvalidArgumentError(absl::StrCat(path, " cannot be read or is empty"));
  }
  return text;
}

// As metadata may be: gRPC ends the process for anything else.
absl::Status CheckToken(const std::string& token, const std::string& source) {
  for (const unsigned char c : token) {
    if (absl::ascii_isgraph(c)) continue;
    return absl::InvalidArgumentError(
        absl::StrCat(source, " is not one token: it has a space or another odd character inside"));
  }
  return absl::OkStatus();
}

// Adds the token to a call. gRPC's own call credentials would be sent over TLS alone, and a gateway
// on the same machine may have none.
class TokenAdder : public grpc::experimental::Interceptor {
 public:
  explicit TokenAdder(const std::string& header) : header_(header) {}
  void Intercept(grpc::experimental::InterceptorBatchMethods* methods) override {
    using grpc::experimental::InterceptionHookPoints;
    if (methods->QueryInterceptionHookPoint(InterceptionHookPoints::PRE_SEND_INITIAL_METADATA)) {
      methods->GetSendInitialMetadata()->emplace("authorization", header_);
    }
    methods->Proceed();
  }

 private:
  const std::string& header_;
};

class TokenAdders : public InterceptorFactory {
 public:
  explicit TokenAdders(const std::string& token) : header_(absl::StrCat("Bearer ", token)) {}
  grpc::experimental::Interceptor* CreateClientInterceptor(
      grpc::experimental::ClientRpcInfo* /*call*/) override {
    return new TokenAdder(header_);
  }

 private:
  const std::string header_;
};

std::vector<std::unique_ptr<InterceptorFactory>> Interceptors(const Access& access) {
  std::vector<std::unique_ptr<InterceptorFactory>> interceptors;
  if (!access.token.empty()) interceptors.push_back(std::make_unique<TokenAdders>(access.token));
  return interceptors;
}

std::shared_ptr<grpc::ChannelCredentials> Credentials(const Access& access) {
  if (!access.tls) return grpc::InsecureChannelCredentials();
  grpc::SslCredentialsOptions options;
  options.pem_root_certs = access.ca;
  options.pem_cert_chain = access.certificate;
  options.pem_private_key = access.key;
  return grpc::SslCredentials(options);
}

}  // namespace

absl::StatusOr<Access> ReadAccess(const AccessOptions& options) {
  Access access;
  access.tls = options.tls || !options.tls_ca.empty() || !options.tls_cert.empty();
  ASSIGN_OR_RETURN(access.ca, ReadFile(options.tls_ca));
  ASSIGN_OR_RETURN(access.certificate, ReadFile(options.tls_cert));
  ASSIGN_OR_RETURN(access.key, ReadFile(options.tls_key));
  std::string source = options.token_file;
  if (!source.empty()) {
    ASSIGN_OR_RETURN(access.token, ReadFile(source));
  } else if (const char* token = std::getenv("RETNET_TOKEN"); token != nullptr) {
    access.token = token;
    source = "RETNET_TOKEN";
  }
  absl::StripAsciiWhitespace(&access.token);
  RETURN_IF_ERROR(CheckToken(access.token, source));
  return access;
}

std::shared_ptr<grpc::Channel> NewChannel(const std::string& target, const Access& access,
                                          const grpc::ChannelArguments& arguments) {
  return grpc::experimental::CreateCustomChannelWithInterceptors(target, Credentials(access),
                                                                 arguments, Interceptors(access));
}

std::shared_ptr<grpc::Channel> NewChannelFromSocket(const std::string& target, int socket,
                                                    const Access& access,
                                                    const grpc::ChannelArguments& arguments) {
  return grpc::experimental::CreateCustomInsecureChannelWithInterceptorsFromFd(
      target, socket, arguments, Interceptors(access));
}

}  // namespace retnet
