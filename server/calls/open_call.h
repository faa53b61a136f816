// A call that may be finished by another thread than the one that began it.
#ifndef RETNET_SERVER_CALLS_OPEN_CALL_H_
#define RETNET_SERVER_CALLS_OPEN_CALL_H_

#include <memory>

#include "kernels/mutex.h"
#include "server/calls/in_flight_calls.h"

namespace retnet {

// Lives in a std::shared_ptr and holds a reference to itself from Open to Close. Every gRPC
// callback takes mu_ before it touches a member.
class OpenCall : public std::enable_shared_from_this<OpenCall> {
 public:
  OpenCall(const OpenCall&) = delete;
  virtual ~OpenCall() = default;

  // Call Open before gRPC gets the call, and Close when gRPC is done with it. In between the call
  // is in flight.
  void Open();
  void Close();

 protected:
  explicit OpenCall(InFlightCalls* in_flight_calls) : in_flight_calls_(in_flight_calls) {}

  // Says whether a drain may end without waiting for the call. Call this between Open and Close.
  void SetIdle(bool idle) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  Mutex mu_;

 private:
  InFlightCalls* const in_flight_calls_;
  std::shared_ptr<OpenCall> self_ ABSL_GUARDED_BY(mu_);
  bool idle_ ABSL_GUARDED_BY(mu_) = false;
};

}  // namespace retnet

#endif  // RETNET_SERVER_CALLS_OPEN_CALL_H_
