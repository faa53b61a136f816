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

// Polls its own completion queue, so a message is stamped by the thread that read it off the
// socket, with no hand-over between. Start and InterruptAll come from any thread.
class StreamThread {
 public:
  struct Handler {
    // Both on this thread; `ended` may call Start.
    std::function<void(int tokens)> received;
    std::function<void(RequestRecord record)> ended;
  };

  StreamThread(Handler handler, double pause_seconds);
  // Every call must have ended.
  ~StreamThread();

  void Start(std::unique_ptr<StreamCall> call);
  // Those that are started later, too.
  void InterruptAll();

  // For each message of tokens the longest time, in seconds, that it can have waited here before
  // it was stamped: since this thread last had nothing to do. Ends the thread; once.
  std::vector<float> TakeDelays();

 private:
  void Run();
  void Handle(StreamCall* call, bool ok, SteadyTime now);
  // When the first of paused_ goes on; none for ever.
  gpr_timespec NextDeadline() const;
  void ResumePaused();

  const Handler handler_;
  const std::chrono::steady_clock::duration pause_;
  grpc::CompletionQueue queue_;

  // The thread's own.
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
