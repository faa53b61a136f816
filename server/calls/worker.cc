#include "server/calls/worker.h"

#include <utility>

namespace retnet {

Worker::Worker() : thread_([this] { Run(); }) {}

Worker::~Worker() {
  {
    const MutexLock lock(&mu_);
    ending_ = true;
  }
  wake_.NotifyOne();
  thread_.join();
}

void Worker::Post(std::function<void()> task) {
  {
    const MutexLock lock(&mu_);
    tasks_.push_back(std::move(task));
  }
  wake_.NotifyOne();
}

void Worker::Run() {
  while (true) {
    std::function<void()> task;
    {
      MutexLock lock(&mu_);
      while (!ending_ && tasks_.empty()) wake_.Wait(&mu_);
      if (tasks_.empty()) return;
      task = std::move(tasks_.front());
      tasks_.pop_front();
    }
    task();
  }
}

}  // namespace retnet
