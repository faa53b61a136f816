// A thread that runs tasks one after another.
#ifndef RETNET_KERNELS_SERIAL_EXECUTOR_H_
#define RETNET_KERNELS_SERIAL_EXECUTOR_H_

#include <cstdint>
#include <deque>
#include <thread>

#include "absl/functional/any_invocable.h"
#include "kernels/mutex.h"

namespace retnet {

// Thread-safe. Tasks run in the order of the calls of Post. What one task wrote is visible to the
// next one, and to whoever has waited for it.
class SerialExecutor {
 public:
  SerialExecutor();
  // Runs what was posted first.
  ~SerialExecutor();
  SerialExecutor(const SerialExecutor&) = delete;
  SerialExecutor& operator=(const SerialExecutor&) = delete;

  // The task, and with it what it holds, is destroyed on the thread once it has run. No lock is held
  // then: it may post.
  void Post(absl::AnyInvocable<void()> task);
  // Returns when all tasks that have been posted are destroyed. Not from a task.
  void Wait();

 private:
  void Run();

  Mutex mutex_;
  CondVar posted_one_;
  CondVar finished_one_;
  std::deque<absl::AnyInvocable<void()>> tasks_ ABSL_GUARDED_BY(mutex_);  // that have not begun
  int64_t posted_ ABSL_GUARDED_BY(mutex_) = 0;
  int64_t finished_ ABSL_GUARDED_BY(mutex_) = 0;
  bool ending_ ABSL_GUARDED_BY(mutex_) = false;

  std::thread thread_;  // last: it uses all of the above
};

}  // namespace retnet

#endif  // RETNET_KERNELS_SERIAL_EXECUTOR_H_
