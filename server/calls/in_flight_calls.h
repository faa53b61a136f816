// Counts the calls in flight, so that a drain can wait for them.
#ifndef RETNET_SERVER_CALLS_IN_FLIGHT_CALLS_H_
#define RETNET_SERVER_CALLS_IN_FLIGHT_CALLS_H_

#include "absl/time/time.h"
#include "kernels/mutex.h"

namespace retnet {

// Thread-safe.
class InFlightCalls {
 public:
  void Add() {
    const MutexLock lock(&mu_);
    ++count_;
  }
  void Remove() {
    const MutexLock lock(&mu_);
    if (--count_ == 0) none_.NotifyAll();
  }
  // Waits until no call is in flight or the deadline passes. Returns whether none is.
  bool WaitUntilNone(absl::Time deadline) {
    MutexLock lock(&mu_);
    while (count_ > 0 && none_.WaitUntil(&mu_, absl::ToChronoTime(deadline))) continue;
    return count_ == 0;
  }

 private:
  Mutex mu_;
  CondVar none_;
  int count_ ABSL_GUARDED_BY(mu_) = 0;
};

}  // namespace retnet

#endif  // RETNET_SERVER_CALLS_IN_FLIGHT_CALLS_H_
