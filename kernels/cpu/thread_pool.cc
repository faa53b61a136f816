#include "kernels/cpu/thread_pool.h"

#include <algorithm>
#include <chrono>

#include "hwy/cache_control.h"
#include "kernels/cpu/available_cores.h"

namespace retnet::cpu {
namespace {

// Longer than the gap between two operators of a step, and much shorter than a time slice of the
// operating system's scheduler.
constexpr std::chrono::microseconds kSpinTime(10);

constexpr uint64_t kTaskMask = 0xFFFFFFFFu;

}  // namespace

ThreadPool::ThreadPool(int32_t threads) : spins_(threads <= AvailableCores()) {
  for (int32_t thread = 1; thread < threads; ++thread) {
    workers_.emplace_back([this, thread] { WorkerLoop(thread); });
  }
}

ThreadPool::~ThreadPool() {
  {
    const MutexLock lock(&mutex_);
    stop_ = true;
    work_.NotifyAll();
  }
  for (std::thread& worker : workers_) worker.join();
}

template <typename Condition>
bool ThreadPool::SpinUntil(const Condition& condition) const {
  if (condition()) return true;
  if (!spins_) return false;
  const auto end = std::chrono::steady_clock::now() + kSpinTime;
  do {
    hwy::Pause();
    if (condition()) return true;
  } while (std::chrono::steady_clock::now() < end);
  return false;
}

void ThreadPool::RunTasks(int32_t thread) {
  uint64_t seen = unclaimed_.load(std::memory_order_acquire);
  while ((seen & kTaskMask) != 0) {
    const Call call = call_.load(std::memory_order_relaxed);
    const void* context = context_.load(std::memory_order_relaxed);
    const int64_t tasks = tasks_.load(std::memory_order_relaxed);
    if (!unclaimed_.compare_exchange_weak(seen, seen - 1, std::memory_order_acq_rel,
                                          std::memory_order_acquire)) {
      continue;
    }
    call(context, tasks - static_cast<int64_t>(seen & kTaskMask), thread);
    if (finished_.fetch_add(1, std::memory_order_seq_cst) + 1 == tasks &&
        caller_sleeps_.load(std::memory_order_seq_cst)) {
      const MutexLock lock(&mutex_);
      done_.NotifyOne();
    }
    seen = unclaimed_.load(std::memory_order_acquire);
  }
}

void ThreadPool::RunOnAll(int64_t tasks, Call call, const void* context) {
  // All tasks of the previous job are finished, so no thread uses its fields any more.
  call_.store(call, std::memory_order_relaxed);
  context_.store(context, std::memory_order_relaxed);
  tasks_.store(tasks, std::memory_order_relaxed);
  finished_.store(0, std::memory_order_relaxed);
  const uint64_t generation = (unclaimed_.load(std::memory_order_relaxed) >> 32) + 1;
  unclaimed_.store(generation << 32 | static_cast<uint64_t>(tasks), std::memory_order_seq_cst);
  if (sleeping_workers_.load(std::memory_order_seq_cst) > 0) {
    const MutexLock lock(&mutex_);
    work_.NotifyAll();
  }
  RunTasks(/*thread=*/0);

  const auto all_done = [this, tasks] {
    return finished_.load(std::memory_order_seq_cst) == tasks;
  };
  if (SpinUntil(all_done)) return;
  caller_sleeps_.store(true, std::memory_order_seq_cst);
  {
    MutexLock lock(&mutex_);
    while (!all_done()) done_.Wait(&mutex_);
  }
  caller_sleeps_.store(false, std::memory_order_relaxed);
}

void ThreadPool::WorkerLoop(int32_t thread) {
  const auto has_work = [this] {
    return (unclaimed_.load(std::memory_order_seq_cst) & kTaskMask) != 0;
  };
  while (true) {
    RunTasks(thread);
    if (SpinUntil(has_work)) continue;
    MutexLock lock(&mutex_);
    sleeping_workers_.fetch_add(1, std::memory_order_seq_cst);
    while (!stop_ && !has_work()) work_.Wait(&mutex_);
    sleeping_workers_.fetch_sub(1, std::memory_order_relaxed);
    if (stop_) return;
  }
}

}  // namespace retnet::cpu
