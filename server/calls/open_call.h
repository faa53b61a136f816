// A call that may be finished by another thread than the one that began it.
#ifndef RETNET_SERVER_CALLS_OPEN_CALL_H_
#define RETNET_SERVER_CALLS_OPEN_CALL_H_

#include <memory>

#include "absl/status/status.h"
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
  // Ends the call with this error because its client does not read: see UnreadOutput. May be called
  // at any time, even after Close.
  virtual void EndUnread(const absl::Status& /*status*/) {}

 protected:
  explicit OpenCall(InFlightCalls* in_flight_calls) : in_flight_calls_(in_flight_calls) {}

  // Says whether a drain may end without waiting for the call. Call this between Open and Close.
  void SetIdle(bool idle) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Whether gRPC has the call: between Open and Close.
  bool open() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) { return self_ != nullptr; }

  Mutex mu_;

 private:
  InFlightCalls* const in_flight_calls_;
  std::shared_ptr<OpenCall> self_ ABSL_GUARDED_BY(mu_);
  bool idle_ ABSL_GUARDED_BY(mu_) = false;
};

}  // namespace retnet

#endif  // RETNET_SERVER_CALLS_OPEN_CALL_H_
