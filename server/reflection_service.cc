#include "server/reflection_service.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/descriptor.pb.h>

#include <set>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "kernels/mutex.h"
#include "kernels/status_macros.h"
#include "server/ops/served_services.h"
#include "server/wire/messages.h"

namespace retnet {
namespace {

using google::protobuf::DescriptorPool;
using google::protobuf::FieldDescriptor;
using google::protobuf::FileDescriptor;
using reflection_v1::ServerReflectionRequest;
using reflection_v1::ServerReflectionResponse;

// An answer repeats its request.
constexpr size_t kMaxRequestBytes = 4 << 10;

void AddFile(const FileDescriptor* file, std::set<const FileDescriptor*>* added,
             reflection_v1::FileDescriptorResponse* response) {
  if (!added->insert(file).second) return;
  google::protobuf::FileDescriptorProto described;
  file->CopyTo(&described);
  response->add_file_descriptor_proto(described.SerializeAsString());
  for (int i = 0; i < file->dependency_count(); ++i) {
    AddFile(file->dependency(i), added, response);
  }
}

const FileDescriptor* FileOfExtension(const reflection_v1::ExtensionRequest& request) {
  const DescriptorPool& pool = *DescriptorPool::generated_pool();
  const auto* extended = pool.FindMessageTypeByName(request.containing_type());
  if (extended == nullptr) return nullptr;
  const FieldDescriptor* found = pool.FindExtensionByNumber(extended, request.extension_number());
  return found == nullptr ? nullptr : found->file();
}

absl::Status AddExtensionNumbers(const std::string& type,
                                 reflection_v1::ExtensionNumberResponse* response) {
  const DescriptorPool& pool = *DescriptorPool::generated_pool();
  const auto* extended = pool.FindMessageTypeByName(type);
  if (extended == nullptr) return absl::NotFoundError("no such message type");
  std::vector<const FieldDescriptor*> extensions;
  pool.FindAllExtensions(extended, &extensions);
  response->set_base_type_name(type);
  for (const FieldDescriptor* extension : extensions) {
    response->add_extension_number(extension->number());
  }
  return absl::OkStatus();
}

absl::Status Answer(const ServerReflectionRequest& request, ServerReflectionResponse* response) {
  const DescriptorPool& pool = *DescriptorPool::generated_pool();
  const FileDescriptor* file = nullptr;
  switch (request.message_request_case()) {
    case ServerReflectionRequest::kFileByFilename:
      file = pool.FindFileByName(request.file_by_filename());
      break;
    case ServerReflectionRequest::kFileContainingSymbol:
      file = pool.FindFileContainingSymbol(request.file_containing_symbol());
      break;
    case ServerReflectionRequest::kFileContainingExtension:
      file = FileOfExtension(request.file_containing_extension());
      break;
    case ServerReflectionRequest::kAllExtensionNumbersOfType:
      return AddExtensionNumbers(request.all_extension_numbers_of_type(),
                                 response->mutable_all_extension_numbers_response());
    case ServerReflectionRequest::kListServices:
      for (const auto* service : ServedServices()) {
        response->mutable_list_services_response()->add_service()->set_name(service->full_name());
      }
      return absl::OkStatus();
    case ServerReflectionRequest::MESSAGE_REQUEST_NOT_SET:
      return absl::InvalidArgumentError("the request asks for nothing");
  }
  if (file == nullptr) return absl::NotFoundError("no such file, symbol or extension");
  std::set<const FileDescriptor*> added;
  AddFile(file, &added, response->mutable_file_descriptor_response());
  return absl::OkStatus();
}

absl::StatusOr<grpc::ByteBuffer> AnswerBytes(const grpc::ByteBuffer& bytes) {
  if (bytes.Length() > kMaxRequestBytes) {
    return absl::InvalidArgumentError(
        absl::StrCat("the request has ", bytes.Length(), " bytes; it may have ", kMaxRequestBytes));
  }
  ServerReflectionRequest request;
  RETURN_IF_ERROR(ParseMessage(bytes, &request));
  ServerReflectionResponse response;
  response.set_valid_host(request.host());
  *response.mutable_original_request() = request;
  if (const absl::Status status = Answer(request, &response); !status.ok()) {
    response.mutable_error_response()->set_error_code(static_cast<int32_t>(status.code()));
    response.mutable_error_response()->set_error_message(std::string(status.message()));
  }
  return SerializeMessage(response);
}

// Reads a request, writes its answer, and so on. Owns itself.
class ReflectionStream : public grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer> {
 public:
  explicit ReflectionStream(const absl::Status& admitted) {
    const MutexLock lock(&mu_);
    if (admitted.ok()) {
      StartRead(&request_);
    } else {
      Finish(ToGrpcStatus(admitted));
    }
  }

  void OnReadDone(bool ok) override {
    const MutexLock lock(&mu_);
    if (!ok) return Finish(grpc::Status::OK);  // the client asks nothing more
    absl::StatusOr<grpc::ByteBuffer> answer = AnswerBytes(request_);
    if (!answer.ok()) return Finish(ToGrpcStatus(answer.status()));
    answer_ = *std::move(answer);
    StartWrite(&answer_);
  }

  void OnWriteDone(bool ok) override {
    const MutexLock lock(&mu_);
    if (!ok) return Finish(grpc::Status::CANCELLED);
    StartRead(&request_);
  }

  void OnDone() override {
    mu_.Lock();  // after the last callback, which may still hold it
    mu_.Unlock();
    delete this;
  }

 private:
  Mutex mu_;
  grpc::ByteBuffer request_ ABSL_GUARDED_BY(mu_);
  grpc::ByteBuffer answer_ ABSL_GUARDED_BY(mu_);
};

}  // namespace

grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>* StartReflection(
    const grpc::CallbackServerContext& context, const Admission& admission) {
  return new ReflectionStream(admission.Admit(context).status());
}

}  // namespace retnet
