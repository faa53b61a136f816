// Snapshots of sessions between a server and a file.
#ifndef RETNET_CLIENT_SNAPSHOT_FILE_H_
#define RETNET_CLIENT_SNAPSHOT_FILE_H_

#include <grpcpp/client_context.h>

#include <string>

#include "retnet/v1/sessions.grpc.pb.h"

namespace retnet {

// The file "-" is standard output or input. Status codes are the server's, or FAILED_PRECONDITION
// if the file cannot be read or written. An existing file is replaced only by a complete snapshot.
grpc::Status SaveSession(const std::string& id, const std::string& file, v1::Sessions::Stub* stub,
                         grpc::ClientContext* context);
grpc::Status LoadSession(const v1::CreateSessionRequest& session, const std::string& file,
                         v1::Sessions::Stub* stub, grpc::ClientContext* context,
                         v1::Session* loaded);

}  // namespace retnet

#endif  // RETNET_CLIENT_SNAPSHOT_FILE_H_
