// A thread for what would keep gRPC's few threads too long: reading and tokenizing large requests.
#ifndef RETNET_SERVER_CALLS_WORKER_H_
#define RETNET_SERVER_CALLS_WORKER_H_

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>

namespace retnet {

// Runs tasks in order. Thread-safe. The destructor finishes what was posted.
class Worker {
 public:
  Worker();
  ~Worker();

  void Post(std::function<void()> task);

 private:
  void Run();

  std::mutex mu_;
  std::condition_variable wake_;
  std::deque<std::function<void()>> tasks_;  // guarded by mu_, as all below
  bool ending_ = false;
  std::thread thread_;
};

}  // namespace retnet

#endif  // RETNET_SERVER_CALLS_WORKER_H_
