#include "kernels/serial_executor.h"

#include <utility>

namespace retnet {

SerialExecutor::SerialExecutor() : thread_([this] { Run(); }) {}

SerialExecutor::~SerialExecutor() {
  {
    const MutexLock lock(&mutex_);
    ending_ = true;
  }
  posted_one_.NotifyOne();
  thread_.join();
}

void SerialExecutor::Post(absl::AnyInvocable<void()> task) {
  const MutexLock lock(&mutex_);
  tasks_.push_back(std::move(task));
  ++posted_;
  posted_one_.NotifyOne();
}

void SerialExecutor::Wait() {
  MutexLock lock(&mutex_);
  const int64_t last = posted_;
  while (finished_ < last) finished_one_.Wait(&mutex_);
}

void SerialExecutor::Run() {
  MutexLock lock(&mutex_);
  while (true) {
    while (!ending_ && tasks_.empty()) posted_one_.Wait(&mutex_);
    if (tasks_.empty()) return;
    {
      absl::AnyInvocable<void()> task = std::move(tasks_.front());
      tasks_.pop_front();
      lock.Unlock();
      task();
    }
    lock.Lock();
    ++finished_;
    finished_one_.NotifyAll();
  }
}

}  // namespace retnet
