// A call that is finished by another thread than the one that began it.
#ifndef RETNET_SERVER_CALLS_OPEN_CALL_H_
#define RETNET_SERVER_CALLS_OPEN_CALL_H_

#include <memory>

#include "kernels/mutex.h"
#include "server/calls/in_flight_calls.h"

namespace retnet {

// Lives in a std::shared_ptr, held by itself from Open to Close. Every callback of gRPC takes mu_
// before it touches a member.
class OpenCall : public std::enable_shared_from_this<OpenCall> {
 public:
  OpenCall(const OpenCall&) = delete;
  virtual ~OpenCall() = default;

  // Before the call is given to gRPC, and when gRPC is done with it. In between it counts as open.
  void Open();
  void Close();

 protected:
  explicit OpenCall(InFlightCalls* in_flight_calls) : in_flight_calls_(in_flight_calls) {}

  // Between Open and Close: whether a drain need not wait for the call now.
  void SetIdle(bool idle) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  Mutex mu_;

 private:
  InFlightCalls* const in_flight_calls_;
  std::shared_ptr<OpenCall> self_ ABSL_GUARDED_BY(mu_);
  bool idle_ ABSL_GUARDED_BY(mu_) = false;
};

}  // namespace retnet

#endif  // RETNET_SERVER_CALLS_OPEN_CALL_H_
