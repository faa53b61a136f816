// What the server measures of its calls: how they ended, and how long their tokens took.
#ifndef RETNET_SERVER_OPS_CALL_METRICS_H_
#define RETNET_SERVER_OPS_CALL_METRICS_H_

#include <grpcpp/support/server_interceptor.h>
#include <grpcpp/support/status.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "kernels/mutex.h"

namespace retnet {

// Durations counted by size. Thread-safe; takes no lock.
class LatencyHistogram {
 public:
  // Upper bounds in seconds, a step of the default model to a long wait in a queue.
  static constexpr std::array kBounds = {0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1,
                                         0.2,    0.5,    1.0,   2.0,   5.0,   10.0, 20.0, 60.0};

  // So many times the same.
  void Observe(absl::Duration duration, int64_t times = 1);

  struct Counts {
    std::array<int64_t, kBounds.size() + 1> buckets = {};  // each bound's own; the last has none
    double seconds = 0.0;                                  // the sum of all
  };
  Counts counts() const;

 private:
  std::array<std::atomic<int64_t>, kBounds.size() + 1> buckets_ = {};
  std::atomic<double> seconds_ = 0.0;
};

// Thread-safe.
class CallMetrics {
 public:
  LatencyHistogram& first_token() { return first_token_; }  // of a sample, from its submission
  LatencyHistogram& between_tokens() { return between_tokens_; }
  LatencyHistogram& queued() { return queued_; }  // from submission to the first step
  const LatencyHistogram& first_token() const { return first_token_; }
  const LatencyHistogram& between_tokens() const { return between_tokens_; }
  const LatencyHistogram& queued() const { return queued_; }

  // How often calls of a method ("/PACKAGE.SERVICE/METHOD") ended with a code.
  using Calls = std::map<std::pair<std::string, grpc::StatusCode>, int64_t>;
  Calls calls() const;

  // For a server's builder; counts its calls here, which outlives them.
  std::vector<std::unique_ptr<grpc::experimental::ServerInterceptorFactoryInterface>>
  Interceptors();

 private:
  class CallCounter;
  class CallCounters;
  void CountCall(const char* method, grpc::StatusCode code);

  LatencyHistogram first_token_;
  LatencyHistogram between_tokens_;
  LatencyHistogram queued_;
  mutable Mutex mu_;
  Calls calls_ ABSL_GUARDED_BY(mu_);
};

}  // namespace retnet

#endif  // RETNET_SERVER_OPS_CALL_METRICS_H_
