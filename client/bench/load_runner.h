// Runs a load: sends requests when they are due, up to the concurrency limit, and collects records.
#ifndef RETNET_CLIENT_BENCH_LOAD_RUNNER_H_
#define RETNET_CLIENT_BENCH_LOAD_RUNNER_H_

#include <atomic>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "client/bench/arrivals.h"
#include "client/bench/connection.h"
#include "client/bench/stream_call.h"
#include "client/bench/stream_thread.h"
#include "client/bench/workload.h"
#include "kernels/mutex.h"

namespace retnet {

// The connections that all runs share. During a run each has a thread of its own.
struct Channels {
  std::string target;
  Access access;
  std::vector<std::shared_ptr<grpc::Channel>> ordinary;
  std::shared_ptr<grpc::Channel> narrow;  // for slow readers
};

struct LoadLimits {
  std::optional<int64_t> requests = std::nullopt;
  // No request is sent after this time. Running requests still finish.
  std::optional<double> seconds = std::nullopt;
  int32_t concurrency = 0;       // requests that run at once; 0: no limit
  double timeout_seconds = 0;    // of a request; 0: no timeout
  double slow_reader_pause = 0;  // seconds after each message of tokens
};

// Counters for a progress line. All of them count requests, except `tokens`.
struct LoadProgress {
  std::atomic<int64_t> running = 0;
  std::atomic<int64_t> ended = 0;
  std::atomic<int64_t> failed = 0;
  std::atomic<int64_t> tokens = 0;
};

struct LoadResult {
  std::vector<RequestRecord> records;  // in the order in which requests ended
  double seconds = 0;                  // from the start to the end of the last request
  double cpu_seconds = 0;              // CPU time of this process during the run, all threads
  std::vector<float> delays;           // see StreamThread::TakeDelays
  bool interrupted = false;
};

// Executes one run. Not reusable.
class LoadRunner {
 public:
  LoadRunner(const Channels& channels, const LoadLimits& limits, LoadProgress* progress);

  // Returns when all requests have ended. limits.requests or limits.seconds must be set.
  LoadResult Run(const Workload& workload, Arrivals* arrivals);
  // Sends no more requests and cancels the running ones. May be called from any thread, also before
  // Run.
  void Stop();

 private:
  struct Due {
    PlannedRequest planned;
    double due = 0;
    std::shared_ptr<BreakableConnection> breakable;  // for a client that vanishes
    absl::Status broken;                             // why it could not be connected
  };

  Due Prepare(const Workload& workload, int64_t index, double due) const;
  // Waits until the request is due and the queue has room. Returns false when the run is over.
  bool AwaitTurn(double due);
  // Sends waiting requests up to the concurrency limit.
  void SendWaiting(size_t thread);
  void Send(Due due, size_t thread);
  void Ended(RequestRecord record, size_t thread);
  bool all_ended() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    return waiting_.empty() && running_ == 0;
  }
  bool SendingIsOver(SteadyTime now) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  const Channels& channels_;
  const LoadLimits limits_;
  LoadProgress* const progress_;
  const size_t most_waiting_;
  std::vector<std::shared_ptr<v1::Generation::Stub>> stubs_;
  std::shared_ptr<v1::Generation::Stub> narrow_stub_;
  SteadyTime start_;

  Mutex mu_;
  CondVar changed_;
  std::deque<Due> waiting_ ABSL_GUARDED_BY(mu_);
  int64_t running_ ABSL_GUARDED_BY(mu_) = 0;
  bool stopped_ ABSL_GUARDED_BY(mu_) = false;
  std::vector<RequestRecord> records_ ABSL_GUARDED_BY(mu_);

  // Last, so that its threads end before what they use. Run fills it under mu_, since Stop may come
  // meanwhile, and reads it later without: from then on it is constant.
  std::vector<std::unique_ptr<StreamThread>> threads_;
};

}  // namespace retnet

#endif  // RETNET_CLIENT_BENCH_LOAD_RUNNER_H_
