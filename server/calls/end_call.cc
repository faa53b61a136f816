#include "server/calls/end_call.h"

#include <grpc/grpc.h>

#include <string>

namespace retnet {

// ServerContext::TryCancel would say CANCELLED, and why would be lost.
void EndCall(grpc::CallbackServerContext* context, const absl::Status& status) {
  const std::string message(status.message());
  grpc_call_cancel_with_status(context->c_call(), static_cast<grpc_status_code>(status.code()),
                               message.c_str(), /*reserved=*/nullptr);
}

}  // namespace retnet
