// The worker threads of the CPU backend.
#ifndef RETNET_KERNELS_CPU_THREAD_POOL_H_
#define RETNET_KERNELS_CPU_THREAD_POOL_H_

#include <atomic>
#include <cstdint>
#include <thread>
#include <vector>

#include "kernels/mutex.h"

namespace retnet::cpu {

// Runs tasks on `threads` threads, one of which is the caller. Idle workers block; if every thread
// has its own core, they spin for a few microseconds first. Only one thread at a time may call Run,
// and tasks must not call it.
class ThreadPool {
 public:
  explicit ThreadPool(int32_t threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int32_t threads() const { return static_cast<int32_t>(workers_.size()) + 1; }

  // Calls function(task, thread) for each task in [0, tasks), in any order, on any thread. Returns
  // when all tasks are done; their writes are then visible to the caller. 0 <= thread < threads().
  // Tasks with equal `thread` do not overlap in time, so it can index scratch. tasks must be below
  // 2^31. Allocates nothing.
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
  // Claims and runs tasks of the current job until all are claimed.
  void RunTasks(int32_t thread);
  template <typename Condition>
  bool SpinUntil(const Condition& condition) const;

  const bool spins_;

  // The generation of the job (upper 32 bits) and the number of its unclaimed tasks (lower 32
  // bits). A claim is a compare-and-swap that subtracts 1. It fails if the generation has changed.
  // So a worker may read the fields of the job before it knows whether the job is still the current
  // one.
  alignas(64) std::atomic<uint64_t> unclaimed_{0};
  std::atomic<Call> call_{nullptr};
  std::atomic<const void*> context_{nullptr};
  std::atomic<int64_t> tasks_{0};
  alignas(64) std::atomic<int64_t> finished_{0};

  // Each side first writes its flag and then reads the other side's condition again, both in
  // sequentially consistent order. So no wake-up is lost. Notifications happen under mutex_.
  std::atomic<int32_t> sleeping_workers_{0};
  std::atomic<bool> caller_sleeps_{false};

  Mutex mutex_;
  CondVar work_;
  CondVar done_;
  bool stop_ ABSL_GUARDED_BY(mutex_) = false;

  std::vector<std::thread> workers_;
};

}  // namespace retnet::cpu

#endif  // RETNET_KERNELS_CPU_THREAD_POOL_H_
