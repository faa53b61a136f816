// Refuses calls with too much metadata, and leaves their connection alone.
#ifndef RETNET_SERVER_CALLS_METADATA_LIMIT_H_
#define RETNET_SERVER_CALLS_METADATA_LIMIT_H_

#include <grpcpp/support/server_interceptor.h>
#include <grpcpp/support/string_ref.h>

#include <cstdint>
#include <map>
#include <memory>

#include "absl/status/status.h"

namespace retnet {

// gRPC's own limit. It drops the connection, and with it the calls beside, when a call has more.
inline constexpr int32_t kMostMetadataBytes = 1 << 20;

using Metadata = std::multimap<grpc::string_ref, grpc::string_ref>;

// Counts as HTTP/2 does: names, values, and 32 bytes for each entry. RESOURCE_EXHAUSTED if that is
// more than `most` bytes.
absl::Status CheckMetadata(const Metadata& metadata, int32_t most);

// For calls of gRPC's health service, which know nothing of our limit. They end with the error of
// CheckMetadata.
class HealthMetadataLimit : public grpc::experimental::ServerInterceptorFactoryInterface {
 public:
  explicit HealthMetadataLimit(int32_t most) : most_(most) {}
  grpc::experimental::Interceptor* CreateServerInterceptor(
      grpc::experimental::ServerRpcInfo* call) override;

 private:
  class Limit;
  const int32_t most_;
};

}  // namespace retnet

#endif  // RETNET_SERVER_CALLS_METADATA_LIMIT_H_
