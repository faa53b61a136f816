// Counts the calls that are not finished, so that a drain can wait for them.
#ifndef RETNET_SERVER_CALLS_IN_FLIGHT_CALLS_H_
#define RETNET_SERVER_CALLS_IN_FLIGHT_CALLS_H_

#include <condition_variable>
#include <mutex>

#include "absl/time/time.h"

namespace retnet {

// Thread-safe.
class InFlightCalls {
 public:
  void Add() {
    std::lock_guard lock(mu_);
    ++count_;
  }
  void Remove() {
    std::lock_guard lock(mu_);
    if (--count_ == 0) none_.notify_all();
  }
  // Waits until there is none or the deadline has come; whether there is none.
  bool WaitUntilNone(absl::Time deadline) {
    std::unique_lock lock(mu_);
    return none_.wait_until(lock, absl::ToChronoTime(deadline), [this] { return count_ == 0; });
  }

 private:
  std::mutex mu_;
  std::condition_variable none_;
  int count_ = 0;  // guarded by mu_
};

}  // namespace retnet

#endif  // RETNET_SERVER_CALLS_IN_FLIGHT_CALLS_H_
