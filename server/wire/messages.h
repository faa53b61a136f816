// Between our types and gRPC's: messages from bytes, bytes from messages, statuses.
#ifndef RETNET_SERVER_WIRE_MESSAGES_H_
#define RETNET_SERVER_WIRE_MESSAGES_H_

#include <google/protobuf/message.h>
#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/status.h>

#include "absl/status/status.h"

namespace retnet {

// Reads a request. Calls take raw bytes because gRPC's own parser answers UNIMPLEMENTED where a
// text is not UTF-8. INVALID_ARGUMENT names the field and byte of such a text, or the number of a
// field that this server does not know: to ignore it would give another answer than was asked for.
absl::Status ParseMessage(const grpc::ByteBuffer& bytes, google::protobuf::Message* message);

// The message as bytes.
grpc::ByteBuffer SerializeMessage(const google::protobuf::Message& message);

// The same code and message: both follow google.rpc.Code.
grpc::Status ToGrpcStatus(const absl::Status& status);

}  // namespace retnet

#endif  // RETNET_SERVER_WIRE_MESSAGES_H_
