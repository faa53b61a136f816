// Converts between our types and gRPC's: messages, bytes and statuses.
#ifndef RETNET_SERVER_WIRE_MESSAGES_H_
#define RETNET_SERVER_WIRE_MESSAGES_H_

#include <google/protobuf/message.h>
#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/status.h>

#include "absl/status/status.h"

namespace retnet {

// Parses a request. Calls take raw bytes because gRPC's own parser answers UNIMPLEMENTED to text
// that is not UTF-8. INVALID_ARGUMENT names the field and byte of such text. It also names the
// number of a field that this server does not know: ignoring the field could give a result that the
// client did not ask for.
absl::Status ParseMessage(const grpc::ByteBuffer& bytes, google::protobuf::Message* message);

// The message as bytes.
grpc::ByteBuffer SerializeMessage(const google::protobuf::Message& message);

// Keeps code and message. Both types use the codes of google.rpc.Code.
grpc::Status ToGrpcStatus(const absl::Status& status);

}  // namespace retnet

#endif  // RETNET_SERVER_WIRE_MESSAGES_H_
