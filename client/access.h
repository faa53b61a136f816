// How the client shows who it is, and checks who the server is: its token, and TLS.
#ifndef RETNET_CLIENT_ACCESS_H_
#define RETNET_CLIENT_ACCESS_H_

#include <grpcpp/channel.h>
#include <grpcpp/support/channel_arguments.h>

#include <memory>
#include <string>

#include "absl/status/statusor.h"

namespace retnet {

// Paths of files, as the command line gives them; empty: none.
struct AccessOptions {
  std::string token_file;
  bool tls = false;      // also without any of the files below
  std::string tls_ca;    // PEM; the server's CA
  std::string tls_cert;  // PEM; the client's certificate
  std::string tls_key;   // PEM; of tls_cert
};

// The content of the files.
struct Access {
  std::string token;  // empty: none
  bool tls = false;
  std::string ca;  // empty: the system's CAs
  std::string certificate;
  std::string key;
};

// Reads the files. Without a token file the token is that of the environment variable RETNET_TOKEN,
// if it is set. INVALID_ARGUMENT names the file that cannot be used.
absl::StatusOr<Access> ReadAccess(const AccessOptions& options);

// A channel whose calls carry the token.
std::shared_ptr<grpc::Channel> NewChannel(const std::string& target, const Access& access,
                                          const grpc::ChannelArguments& arguments);
// The same over a connected socket, which the channel owns from then on. Not with TLS.
std::shared_ptr<grpc::Channel> NewChannelFromSocket(const std::string& target, int socket,
                                                    const Access& access,
                                                    const grpc::ChannelArguments& arguments);

}  // namespace retnet

#endif  // RETNET_CLIENT_ACCESS_H_
