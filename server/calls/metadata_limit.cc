#include "server/calls/metadata_limit.h"

#include <grpcpp/server_context.h>

#include <string_view>

#include "absl/strings/str_cat.h"
#include "kernels/mutex.h"
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

// Of one call. gRPC calls it on several threads.
class HealthMetadataLimit::Limit : public grpc::experimental::Interceptor {
 public:
  Limit(ServerRpcInfo* call, int32_t most) {
    const MutexLock lock(&mu_);
    call_ = call;
    most_ = most;
  }
  ~Limit() override { const MutexLock lock(&mu_); }  // sees what the other threads wrote

  void Intercept(grpc::experimental::InterceptorBatchMethods* methods) override {
    // Not under the lock: cancelling may call this function again.
    if (ServerRpcInfo* stream = Check(*methods); stream != nullptr) {
      absl::Status status;
      {
        const MutexLock lock(&mu_);
        status = status_;
      }
      // gRPC's health service uses callbacks, as all services here do.
      EndCall(static_cast<grpc::CallbackServerContext*>(stream->server_context()), status);
    }
    methods->Proceed();
  }

 private:
  // The call if it is a stream that is to be cancelled, with status_.
  ServerRpcInfo* Check(grpc::experimental::InterceptorBatchMethods& methods) {
    const MutexLock lock(&mu_);
    bool refused = false;
    if (methods.QueryInterceptionHookPoint(InterceptionHookPoints::POST_RECV_INITIAL_METADATA)) {
      status_ = CheckMetadata(*methods.GetRecvInitialMetadata(), most_);
      refused = !status_.ok();
    }
    if (!status_.ok() &&
        methods.QueryInterceptionHookPoint(InterceptionHookPoints::PRE_SEND_STATUS)) {
      methods.ModifySendStatus(ToGrpcStatus(status_));
    }
    return refused && call_->type() != ServerRpcInfo::Type::UNARY ? call_ : nullptr;
  }

  Mutex mu_;
  ServerRpcInfo* call_ ABSL_GUARDED_BY(mu_);
  int32_t most_ ABSL_GUARDED_BY(mu_);
  absl::Status status_ ABSL_GUARDED_BY(mu_);
};

grpc::experimental::Interceptor* HealthMetadataLimit::CreateServerInterceptor(ServerRpcInfo* call) {
  if (!std::string_view(call->method()).starts_with("/grpc.health.")) return nullptr;
  return new Limit(call, most_);
}

}  // namespace retnet
