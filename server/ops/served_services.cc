#include "server/ops/served_services.h"

#include "grpc/health/v1/health.pb.h"
#include "grpc/reflection/v1/reflection.pb.h"
#include "grpc/reflection/v1alpha/reflection.pb.h"
#include "retnet/v1/generation.pb.h"
#include "retnet/v1/sessions.pb.h"

namespace retnet {

std::vector<const google::protobuf::ServiceDescriptor*> ServedServices() {
  // Each of these files declares one service.
  return {v1::GenerateRequest::descriptor()->file()->service(0),
          v1::Session::descriptor()->file()->service(0),
          grpc::health::v1::HealthCheckRequest::descriptor()->file()->service(0),
          grpc::reflection::v1::ServerReflectionRequest::descriptor()->file()->service(0),
          grpc::reflection::v1alpha::ServerReflectionRequest::descriptor()->file()->service(0)};
}

}  // namespace retnet
