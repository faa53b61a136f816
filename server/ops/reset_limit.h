// Cuts connections whose client opens calls only to reset them.
#ifndef RETNET_SERVER_OPS_RESET_LIMIT_H_
#define RETNET_SERVER_OPS_RESET_LIMIT_H_

#include <grpcpp/support/server_interceptor.h>

#include <cstdint>
#include <map>
#include <string>

#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "kernels/mutex.h"

namespace retnet {

// HTTP/2 bounds the calls that are open at once, but a call that its client has reset is not open
// any more. So one connection can bring calls faster than the server can drop them (CVE-2023-44487,
// "rapid reset"), and gRPC 1.51 does not bound that. This counts, for each connection, the calls
// that were cancelled before they got an answer and before their deadline. A connection may have
// many at once, when its client gives up all of them, and some each second. With more it is closed.
// The peer of a unix-domain socket has no address, so its connection is never closed. Thread-safe.
class ResetLimit : public grpc::experimental::ServerInterceptorFactoryInterface {
 public:
  // A connection may have `burst` of these calls at once, and so many each second for ever.
  explicit ResetLimit(int32_t burst, double each_second = 200)
      : burst_(burst), each_second_(each_second) {}

  grpc::experimental::Interceptor* CreateServerInterceptor(
      grpc::experimental::ServerRpcInfo* call) override;

  // Counts one such call of `peer`, an address as grpc::ServerContext::peer() has it. Returns
  // whether that was one too many.
  bool Count(const std::string& peer, absl::Time now = absl::Now());

 private:
  class Watch;
  static constexpr size_t kManyPeers = 1024;
  // How many calls a peer may still have; grows with time up to burst_.
  struct Allowance {
    double calls = 0;
    absl::Time at;
  };
  void Cut(const std::string& peer);
  Allowance Grown(const Allowance& allowance, absl::Time now) const;

  const int32_t burst_;
  const double each_second_;
  Mutex mu_;
  std::map<std::string, Allowance> peers_ ABSL_GUARDED_BY(mu_);  // whose allowance is not whole
  size_t many_peers_ ABSL_GUARDED_BY(mu_) = kManyPeers;  // with so many, look for whole ones
  int64_t cut_ ABSL_GUARDED_BY(mu_) = 0;  // connections, since the last log line about them
  absl::Time next_log_ ABSL_GUARDED_BY(mu_) = absl::InfinitePast();
};

// Closes the connection of this process to `peer`, if there is one.
void CutConnection(const std::string& peer);

}  // namespace retnet

#endif  // RETNET_SERVER_OPS_RESET_LIMIT_H_
