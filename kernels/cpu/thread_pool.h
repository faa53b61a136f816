// The CPU backend's workers: one caller at a time spreads the tasks of an operator over them.
#ifndef RETNET_KERNELS_CPU_THREAD_POOL_H_
#define RETNET_KERNELS_CPU_THREAD_POOL_H_

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <thread>
#include <vector>

namespace retnet::cpu {

// `threads` run the tasks, the caller being one of them. Idle workers block, after a few
// microseconds of spinning when each thread has a core of its own. Not reentrant: Run is for one
// thread at a time, and not for tasks.
class ThreadPool {
 public:
  explicit ThreadPool(int32_t threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int32_t threads() const { return static_cast<int32_t>(workers_.size()) + 1; }

  // Calls function(task, thread) for each task in [0, tasks), in any order, on any threads; returns
  // when all are done, and what they wrote is then visible. 0 <= thread < threads(): tasks with
  // equal `thread` do not overlap, so it can index scratch. tasks < 2^31. Allocates nothing.
  template <typename F>
  void Run(int64_t tasks, const F& function) {
    if (tasks <= 1 || workers_.empty()) {
      for (int64_t task = 0; task < tasks; ++task) function(task, /*thread=*/0);
      return;
    }
    RunOnAll(
        tasks,
        [](const void* context, int64_t task, int32_t thread) {
          (*static_cast<const F*>(context))(task, thread);
        },
        &function);
  }

 private:
  using Call = void (*)(const void* context, int64_t task, int32_t thread);

  void RunOnAll(int64_t tasks, Call call, const void* context);
  void WorkerLoop(int32_t thread);
  // Runs tasks of the current job until none is unclaimed.
  void RunTasks(int32_t thread);
  template <typename Condition>
  bool SpinUntil(const Condition& condition) const;

  const bool spins_;

  // Generation of the job (upper 32 bits) and its unclaimed tasks (lower 32 bits). A claim is a
  // compare-and-swap that takes 1 off; since it fails when the generation has moved on, a worker
  // may read the job's fields before it knows that the job is still the current one.
  alignas(64) std::atomic<uint64_t> unclaimed_{0};
  std::atomic<Call> call_{nullptr};
  std::atomic<const void*> context_{nullptr};
  std::atomic<int64_t> tasks_{0};
  alignas(64) std::atomic<int64_t> finished_{0};

  // Written before the other side's condition is read again, both in sequential order, so that no
  // wake is lost; the notifications themselves happen under mutex_.
  std::atomic<int32_t> sleeping_workers_{0};
  std::atomic<bool> caller_sleeps_{false};

  std::mutex mutex_;
  std::condition_variable work_;
  std::condition_variable done_;
  bool stop_ = false;  // guarded by mutex_

  std::vector<std::thread> workers_;
};

}  // namespace retnet::cpu

#endif  // RETNET_KERNELS_CPU_THREAD_POOL_H_
