// Server reflection: tells tools such as grpcurl which services there are, and their messages.
#ifndef RETNET_SERVER_REFLECTION_SERVICE_H_
#define RETNET_SERVER_REFLECTION_SERVICE_H_

#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/server_callback.h>

#include "grpc/reflection/v1/reflection.grpc.pb.h"
#include "grpc/reflection/v1alpha/reflection.grpc.pb.h"
#include "server/calls/admission.h"

namespace retnet {

// gRPC 1.51 has the service by its older name alone, and it takes a thread for each open call.
// Starts a call of either name: their messages are the same bytes.
grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>* StartReflection(
    const grpc::CallbackServerContext& context, const Admission& admission);

// Thread-safe. The admission must outlive the service.
template <typename RawService>
class ReflectionService final : public RawService {
 public:
  explicit ReflectionService(const Admission* admission) : admission_(admission) {}

  grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>* ServerReflectionInfo(
      grpc::CallbackServerContext* context) override {
    return StartReflection(*context, *admission_);
  }

 private:
  const Admission* const admission_;
};

namespace reflection_v1 = grpc::reflection::v1;
namespace reflection_v1alpha = grpc::reflection::v1alpha;
using ReflectionV1 =
    ReflectionService<reflection_v1::ServerReflection::WithRawCallbackMethod_ServerReflectionInfo<
        reflection_v1::ServerReflection::Service>>;
using ReflectionV1Alpha = ReflectionService<
    reflection_v1alpha::ServerReflection::WithRawCallbackMethod_ServerReflectionInfo<
        reflection_v1alpha::ServerReflection::Service>>;

}  // namespace retnet

#endif  // RETNET_SERVER_REFLECTION_SERVICE_H_
