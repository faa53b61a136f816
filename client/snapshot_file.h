// Snapshots of sessions between a server and a file.
#ifndef RETNET_CLIENT_SNAPSHOT_FILE_H_
#define RETNET_CLIENT_SNAPSHOT_FILE_H_

#include <grpcpp/client_context.h>

#include <string>

#include "retnet/v1/sessions.grpc.pb.h"

namespace retnet {

// "-" is standard output and input. Status codes are the server's; of a file that cannot be read or
// written, FAILED_PRECONDITION. A file of that name is replaced only by a whole snapshot.
grpc::Status SaveSession(const std::string& id, const std::string& file, v1::Sessions::Stub* stub,
                         grpc::ClientContext* context);
grpc::Status LoadSession(const v1::CreateSessionRequest& session, const std::string& file,
                         v1::Sessions::Stub* stub, grpc::ClientContext* context,
                         v1::Session* loaded);

}  // namespace retnet

#endif  // RETNET_CLIENT_SNAPSHOT_FILE_H_
