#include "server/wire/messages.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/unknown_field_set.h>
#include <grpcpp/impl/codegen/proto_utils.h>

#include <optional>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "kernels/status_macros.h"
#include "models/utf8.h"

namespace retnet {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;
using google::protobuf::UnknownField;
using google::protobuf::UnknownFieldSet;

// Finds text that is not UTF-8 in a message that did not parse. Reads the fields without checking
// their types.
absl::Status CheckTexts(const UnknownFieldSet& fields, const Descriptor& descriptor) {
  for (int i = 0; i < fields.field_count(); ++i) {
    const UnknownField& field = fields.field(i);
    const FieldDescriptor* type = descriptor.FindFieldByNumber(field.number());
    if (type == nullptr || field.type() != UnknownField::TYPE_LENGTH_DELIMITED) continue;
    if (type->type() == FieldDescriptor::TYPE_STRING) {
      const std::optional<size_t> invalid = FirstInvalidUtf8(field.length_delimited());
      if (!invalid.has_value()) continue;
      return absl::InvalidArgumentError(
          absl::StrCat(type->name(), " is not UTF-8 at byte ", *invalid));
    }
    if (type->type() == FieldDescriptor::TYPE_MESSAGE) {
      UnknownFieldSet inner;
      if (!inner.ParseFromString(field.length_delimited())) continue;
      RETURN_IF_ERROR(CheckTexts(inner, *type->message_type()));
    }
  }
  return absl::OkStatus();
}

absl::Status CheckUnknownFields(const Message& message) {
  const Reflection& reflection = *message.GetReflection();
  if (const UnknownFieldSet& unknown = reflection.GetUnknownFields(message); !unknown.empty()) {
    return absl::InvalidArgumentError(absl::StrCat(message.GetDescriptor()->full_name(),
                                                   " has field number ", unknown.field(0).number(),
                                                   ", which this server does not know"));
  }
  std::vector<const FieldDescriptor*> fields;
  reflection.ListFields(message, &fields);
  for (const FieldDescriptor* field : fields) {
    if (field->cpp_type() != FieldDescriptor::CPPTYPE_MESSAGE || field->is_repeated()) continue;
    RETURN_IF_ERROR(CheckUnknownFields(reflection.GetMessage(message, field)));
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status ParseMessage(const grpc::ByteBuffer& bytes, Message* message) {
  grpc::ByteBuffer buffer = bytes;  // shares the slices
  grpc::ProtoBufferReader reader(&buffer);
  if (reader.status().ok() && message->ParseFromZeroCopyStream(&reader)) {
    return CheckUnknownFields(*message);
  }
  grpc::ByteBuffer again = bytes;
  grpc::ProtoBufferReader untyped(&again);
  UnknownFieldSet fields;
  if (untyped.status().ok() && fields.ParseFromZeroCopyStream(&untyped)) {
    RETURN_IF_ERROR(CheckTexts(fields, *message->GetDescriptor()));
  }
  return absl::InvalidArgumentError(
      absl::StrCat("the request is not a ", message->GetDescriptor()->full_name()));
}

grpc::ByteBuffer SerializeMessage(const Message& message) {
  grpc::ByteBuffer buffer;
  bool own_buffer = true;
  // Fails only for messages beyond 2 GiB. The client then gets an empty message.
  grpc::GenericSerialize<grpc::ProtoBufferWriter, Message>(message, &buffer, &own_buffer)
      .IgnoreError();
  return buffer;
}

grpc::Status ToGrpcStatus(const absl::Status& status) {
  return grpc::Status(static_cast<grpc::StatusCode>(status.code()), std::string(status.message()));
}

}  // namespace retnet
