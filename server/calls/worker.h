// A thread for what would keep gRPC's few threads too long: reading and tokenizing large requests.
#ifndef RETNET_SERVER_CALLS_WORKER_H_
#define RETNET_SERVER_CALLS_WORKER_H_

#include <deque>
#include <functional>
#include <thread>

#include "kernels/mutex.h"

namespace retnet {

// Runs tasks in order. Thread-safe. The destructor finishes what was posted.
class Worker {
 public:
  Worker();
  ~Worker();

  void Post(std::function<void()> task);

 private:
  void Run();

  Mutex mu_;
  CondVar wake_;
  std::deque<std::function<void()>> tasks_ ABSL_GUARDED_BY(mu_);
  bool ending_ ABSL_GUARDED_BY(mu_) = false;
  std::thread thread_;
};

}  // namespace retnet

#endif  // RETNET_SERVER_CALLS_WORKER_H_
