// The thread that receives the streams of one connection.
#ifndef RETNET_CLIENT_BENCH_STREAM_THREAD_H_
#define RETNET_CLIENT_BENCH_STREAM_THREAD_H_

#include <grpcpp/completion_queue.h>

#include <functional>
#include <map>
#include <memory>
#include <queue>
#include <thread>
#include <utility>
#include <vector>

#include "client/bench/stream_call.h"
#include "kernels/mutex.h"

namespace retnet {

// Polls its own completion queue. The thread that reads a message from the socket also takes its
// time, without a hand-over. Start and InterruptAll may be called from any thread.
class StreamThread {
 public:
  struct Handler {
    // Both are called on this thread. `ended` may call Start.
    std::function<void(int tokens)> received;
    std::function<void(RequestRecord record)> ended;
  };

  StreamThread(Handler handler, double pause_seconds);
  // Every call must have ended.
  ~StreamThread();

  void Start(std::unique_ptr<StreamCall> call);
  // Interrupts all calls, including those that are started later.
  void InterruptAll();

  // For each message with tokens, an upper bound in seconds of the time that it waited here before
  // its time was taken: the time since this thread last had nothing to do. Ends the thread. Call
  // once.
  std::vector<float> TakeDelays();

 private:
  void Run();
  void Handle(StreamCall* call, bool ok, SteadyTime now);
  // When the first call in paused_ resumes, or the infinite future.
  gpr_timespec NextDeadline() const;
  void ResumePaused();

  const Handler handler_;
  const std::chrono::steady_clock::duration pause_;
  grpc::CompletionQueue queue_;

  // Used by the thread only.
  using Paused = std::pair<SteadyTime, StreamCall*>;
  std::priority_queue<Paused, std::vector<Paused>, std::greater<>> paused_;
  SteadyTime busy_since_;
  std::vector<float> delays_;

  Mutex mu_;
  std::map<StreamCall*, std::unique_ptr<StreamCall>> calls_ ABSL_GUARDED_BY(mu_);
  bool interrupted_ ABSL_GUARDED_BY(mu_) = false;

  std::thread thread_;
};

}  // namespace retnet

#endif  // RETNET_CLIENT_BENCH_STREAM_THREAD_H_
