#include "server/calls/metadata_limit.h"

#include <grpcpp/server_context.h>

#include <optional>
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
    // Not under the lock: ending a call may call this function again.
    if (const std::optional<RefusedStream> stream = Check(*methods)) {
      EndCall(stream->context, stream->status);
    }
    methods->Proceed();
  }

 private:
  struct RefusedStream {
    grpc::CallbackServerContext* context;
    absl::Status status;
  };

  // A unary call gets the status when its answer is sent. A stream may never send one: it is
  // returned, to be ended.
  std::optional<RefusedStream> Check(grpc::experimental::InterceptorBatchMethods& methods) {
    const MutexLock lock(&mu_);
    if (methods.QueryInterceptionHookPoint(InterceptionHookPoints::POST_RECV_INITIAL_METADATA)) {
      status_ = CheckMetadata(*methods.GetRecvInitialMetadata(), most_);
      if (!status_.ok() && call_->type() != ServerRpcInfo::Type::UNARY) {
        // gRPC's health service uses callbacks, as all services here do.
        return RefusedStream{static_cast<grpc::CallbackServerContext*>(call_->server_context()),
                             status_};
      }
    }
    if (!status_.ok() &&
        methods.QueryInterceptionHookPoint(InterceptionHookPoints::PRE_SEND_STATUS)) {
      methods.ModifySendStatus(ToGrpcStatus(status_));
    }
    return std::nullopt;
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
