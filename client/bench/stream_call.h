// One streaming call of a load, from its start to its record.
#ifndef RETNET_CLIENT_BENCH_STREAM_CALL_H_
#define RETNET_CLIENT_BENCH_STREAM_CALL_H_

#include <grpcpp/client_context.h>
#include <grpcpp/completion_queue.h>

#include <chrono>
#include <functional>
#include <memory>

#include "client/bench/request_record.h"
#include "client/bench/workload.h"
#include "kernels/mutex.h"
#include "retnet/v1/generation.grpc.pb.h"

namespace retnet {

using SteadyTime = std::chrono::steady_clock::time_point;

struct StreamCallOptions {
  PlannedRequest planned;
  double due = 0;
  SteadyTime run_start;
  double timeout_seconds = 0;                 // 0: no timeout
  std::function<void()> break_off = nullptr;  // for kVanishes: breaks the connection
};

// At most one operation is pending. Its tag is the address of this object. Every method takes mu_:
// gRPC passes the call from thread to thread in a way that the thread sanitizer does not see.
class StreamCall {
 public:
  enum class Next { kEvent, kPause, kEnd };

  StreamCall(StreamCallOptions options, std::shared_ptr<v1::Generation::Stub> stub);

  void Start(grpc::CompletionQueue* queue);
  // Call this when the pending operation has ended, at `now`. After kPause nothing is pending until
  // Resume.
  Next Proceed(bool ok, SteadyTime now, int* new_tokens);
  void Resume();
  // May be called from any thread, also before Start.
  void Interrupt();
  // Call once, after kEnd.
  RequestRecord TakeRecord();

 private:
  enum class Pending { kStart, kRead, kFinish };

  double Seconds(SteadyTime time) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  Next Read() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  Next Leave() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  Next Finish() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void Accept(SteadyTime now, int* new_tokens) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  Outcome End() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  const std::shared_ptr<v1::Generation::Stub> stub_;

  Mutex mu_;
  StreamCallOptions options_ ABSL_GUARDED_BY(mu_);
  grpc::ClientContext context_ ABSL_GUARDED_BY(mu_);
  std::unique_ptr<grpc::ClientAsyncReader<v1::GenerateResponse>> reader_ ABSL_GUARDED_BY(mu_);
  v1::GenerateResponse response_ ABSL_GUARDED_BY(mu_);
  Pending pending_ ABSL_GUARDED_BY(mu_) = Pending::kStart;
  bool left_ ABSL_GUARDED_BY(mu_) = false;  // the client ended the call on purpose
  bool interrupted_ ABSL_GUARDED_BY(mu_) = false;
  SteadyTime newest_ ABSL_GUARDED_BY(mu_);  // when the last tokens arrived
  RequestRecord record_ ABSL_GUARDED_BY(mu_);
};

}  // namespace retnet

#endif  // RETNET_CLIENT_BENCH_STREAM_CALL_H_
