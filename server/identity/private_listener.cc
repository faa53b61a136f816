#include "server/identity/private_listener.h"

namespace retnet {
namespace {

const char kMark[] = "retnet-private-listener";

}  // namespace

class PrivateMark::Marker : public grpc::experimental::Interceptor {
 public:
  void Intercept(grpc::experimental::InterceptorBatchMethods* methods) override {
    using grpc::experimental::InterceptionHookPoints;
    if (methods->QueryInterceptionHookPoint(InterceptionHookPoints::POST_RECV_INITIAL_METADATA)) {
      methods->GetRecvInitialMetadata()->emplace(kMark, "");
    }
    methods->Proceed();
  }
};

grpc::experimental::Interceptor* PrivateMark::CreateServerInterceptor(
    grpc::experimental::ServerRpcInfo* /*call*/) {
  return new Marker;
}

bool IsPrivate(const std::multimap<grpc::string_ref, grpc::string_ref>& metadata) {
  const auto [begin, end] = metadata.equal_range(kMark);
  for (auto entry = begin; entry != end; ++entry) {
    if (entry->first.data() == kMark) return true;
  }
  return false;
}

}  // namespace retnet
