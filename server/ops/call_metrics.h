// Measures calls: how they ended, and how long their tokens took.
#ifndef RETNET_SERVER_OPS_CALL_METRICS_H_
#define RETNET_SERVER_OPS_CALL_METRICS_H_

#include <grpcpp/support/server_interceptor.h>
#include <grpcpp/support/status.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>

#include "absl/time/time.h"
#include "kernels/mutex.h"

namespace retnet {

// Counts durations in buckets. Thread-safe, without a lock.
class LatencyHistogram {
 public:
  // Upper bounds of the buckets in seconds: from a step of the default model to a long wait in a
  // queue.
  static constexpr std::array kBounds = {0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1,
                                         0.2,    0.5,    1.0,   2.0,   5.0,   10.0, 20.0, 60.0};

  // Counts `duration` `times` times.
  void Observe(absl::Duration duration, int64_t times = 1);

  struct Counts {
    std::array<int64_t, kBounds.size() + 1> buckets = {};  // not cumulative; the last is unbounded
    double seconds = 0.0;                                  // sum of all durations
  };
  Counts counts() const;

 private:
  std::array<std::atomic<int64_t>, kBounds.size() + 1> buckets_ = {};
  std::atomic<double> seconds_ = 0.0;
};

// Thread-safe.
class CallMetrics {
 public:
  CallMetrics();

  LatencyHistogram& first_token() { return first_token_; }  // from submission, for each sample
  LatencyHistogram& between_tokens() { return between_tokens_; }
  LatencyHistogram& queued() { return queued_; }  // from submission to the first step
  const LatencyHistogram& first_token() const { return first_token_; }
  const LatencyHistogram& between_tokens() const { return between_tokens_; }
  const LatencyHistogram& queued() const { return queued_; }

  // Stands for every method that the server does not have. Clients choose those names, so there is
  // no end to them.
  static constexpr char kUnknown[] = "unknown";
  // The number of calls by method ("/PACKAGE.SERVICE/METHOD") and status code.
  using Calls = std::map<std::pair<std::string, grpc::StatusCode>, int64_t>;
  Calls calls() const;

  // An interceptor for a server's builder. It counts the server's calls here. This object must
  // outlive the server.
  std::unique_ptr<grpc::experimental::ServerInterceptorFactoryInterface> Interceptor();

 private:
  class CallCounter;
  class CallCounters;
  void CountCall(const char* method, grpc::StatusCode code);

  const std::set<std::string, std::less<>> methods_;  // that the server has
  LatencyHistogram first_token_;
  LatencyHistogram between_tokens_;
  LatencyHistogram queued_;
  mutable Mutex mu_;
  Calls calls_ ABSL_GUARDED_BY(mu_);
};

}  // namespace retnet

#endif  // RETNET_SERVER_OPS_CALL_METRICS_H_
