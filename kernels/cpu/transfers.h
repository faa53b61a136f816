// Copies of states between their slots and the host's bytes, beside the steps.
#ifndef RETNET_KERNELS_CPU_TRANSFERS_H_
#define RETNET_KERNELS_CPU_TRANSFERS_H_

#include <deque>
#include <functional>
#include <thread>

#include "kernels/mutex.h"

namespace retnet::cpu {

// A thread that does what it is given, one after the other. All functions but the constructor may
// be called by one other thread.
class CpuTransfers {
 public:
  CpuTransfers();
  // Does what is left first.
  ~CpuTransfers();
  CpuTransfers(const CpuTransfers&) = delete;
  CpuTransfers& operator=(const CpuTransfers&) = delete;

  void Queue(std::function<void()> job);
  // Returns when all that was queued is done.
  void Wait();

 private:
  void Run();

  Mutex mutex_;
  CondVar changed_;
  std::deque<std::function<void()>> jobs_ ABSL_GUARDED_BY(mutex_);  // the first one is being done
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;

  std::thread thread_;  // last: it uses the members above
};

}  // namespace retnet::cpu

#endif  // RETNET_KERNELS_CPU_TRANSFERS_H_
