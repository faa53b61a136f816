#include "kernels/cpu/transfers.h"

#include <utility>

namespace retnet::cpu {

CpuTransfers::CpuTransfers() : thread_([this] { Run(); }) {}

CpuTransfers::~CpuTransfers() {
  {
    const MutexLock lock(&mutex_);
    stopping_ = true;
  }
  changed_.NotifyAll();
  thread_.join();
}

void CpuTransfers::Queue(std::function<void()> job) {
  {
    const MutexLock lock(&mutex_);
    jobs_.push_back(std::move(job));
  }
  changed_.NotifyAll();
}

void CpuTransfers::Wait() {
  MutexLock lock(&mutex_);
  while (!jobs_.empty()) changed_.Wait(&mutex_);
}

void CpuTransfers::Run() {
  MutexLock lock(&mutex_);
  while (true) {
    while (!stopping_ && jobs_.empty()) changed_.Wait(&mutex_);
    if (jobs_.empty()) return;
    const std::function<void()>& job = jobs_.front();  // stays where it is while others are pushed
    lock.Unlock();
    job();
    lock.Lock();
    jobs_.pop_front();
    changed_.NotifyAll();
  }
}

}  // namespace retnet::cpu
