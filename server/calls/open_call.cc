#include "server/calls/open_call.h"

#include <utility>

namespace retnet {

void OpenCall::Open() {
  const MutexLock lock(&mu_);
  self_ = shared_from_this();
  in_flight_calls_->Add();
}

void OpenCall::Close() {
  std::shared_ptr<OpenCall> self;
  bool counted;
  {
    const MutexLock lock(&mu_);
    self = std::move(self_);
    counted = !idle_;
    idle_ = true;
  }
  // The last touch of anything that a drain waits for; `self` may be the last reference to the
  // call.
  InFlightCalls* in_flight_calls = in_flight_calls_;
  self.reset();
  if (counted) in_flight_calls->Remove();
}

void OpenCall::SetIdle(bool idle) {
  if (idle == idle_ || self_ == nullptr) return;
  idle_ = idle;
  if (idle) {
    in_flight_calls_->Remove();
  } else {
    in_flight_calls_->Add();
  }
}

}  // namespace retnet
