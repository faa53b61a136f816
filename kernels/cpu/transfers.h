// The thread that copies states between slots and bytes while steps run.
#ifndef RETNET_KERNELS_CPU_TRANSFERS_H_
#define RETNET_KERNELS_CPU_TRANSFERS_H_

#include <deque>
#include <functional>
#include <thread>

#include "kernels/mutex.h"

namespace retnet::cpu {

// A thread that runs queued jobs in order. One other thread at a time may call the functions.
class CpuTransfers {
 public:
  CpuTransfers();
  // Runs the remaining jobs first.
  ~CpuTransfers();
  CpuTransfers(const CpuTransfers&) = delete;
  CpuTransfers& operator=(const CpuTransfers&) = delete;

  void Queue(std::function<void()> job);
  // Returns when all queued jobs are done.
  void Wait();

 private:
  void Run();

  Mutex mutex_;
  CondVar changed_;
  std::deque<std::function<void()>> jobs_ ABSL_GUARDED_BY(mutex_);  // the first one is running
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;

  std::thread thread_;  // last: it uses the members above
};

}  // namespace retnet::cpu

#endif  // RETNET_KERNELS_CPU_TRANSFERS_H_
