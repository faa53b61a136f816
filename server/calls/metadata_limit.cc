#include "server/calls/metadata_limit.h"

#include <grpcpp/server_context.h>

#include <string_view>

#include "absl/strings/str_cat.h"
#include "server/calls/end_call.h"
#include "server/wire/messages.h"

namespace retnet {

using grpc::experimental::InterceptionHookPoints;
using grpc::experimental::ServerRpcInfo;

absl::Status CheckMetadata(const Metadata& metadata, int32_t most) {
  constexpr size_t kEntryBytes = 32;  // RFC 7541, 4.1
  size_t bytes = 0;
  for (const auto& [name, value] : metadata) bytes += name.size() + value.size() + kEntryBytes;
  if (bytes <= most) return absl::OkStatus();
  return absl::ResourceExhaustedError(absl::StrCat(
      "the call has ", bytes, " bytes of metadata, counting 32 for each entry; it may ", "have ",
      most, " (--max-metadata-bytes)"));
}

class HealthMetadataLimit::Limit : public grpc::experimental::Interceptor {
 public:
  Limit(ServerRpcInfo* call, int32_t most) : call_(call), most_(most) {}

  void Intercept(grpc::experimental::InterceptorBatchMethods* methods) override {
    if (methods->QueryInterceptionHookPoint(InterceptionHookPoints::POST_RECV_INITIAL_METADATA)) {
      status_ = CheckMetadata(*methods->GetRecvInitialMetadata(), most_);
      if (!status_.ok() && call_->type() != ServerRpcInfo::Type::UNARY) {
        // gRPC's health service uses callbacks, as all services here do.
        EndCall(static_cast<grpc::CallbackServerContext*>(call_->server_context()), status_);
      }
    }
    if (!status_.ok() &&
        methods->QueryInterceptionHookPoint(InterceptionHookPoints::PRE_SEND_STATUS)) {
      methods->ModifySendStatus(ToGrpcStatus(status_));
    }
    methods->Proceed();
  }

 private:
  ServerRpcInfo* const call_;
  const int32_t most_;
  absl::Status status_;
};

grpc::experimental::Interceptor* HealthMetadataLimit::CreateServerInterceptor(ServerRpcInfo* call) {
  if (!std::string_view(call->method()).starts_with("/grpc.health.")) return nullptr;
  return new Limit(call, most_);
}

}  // namespace retnet
