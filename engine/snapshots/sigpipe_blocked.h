// Writing to a connection that its other end has closed, without a signal.
#ifndef RETNET_ENGINE_SNAPSHOTS_SIGPIPE_BLOCKED_H_
#define RETNET_ENGINE_SNAPSHOTS_SIGPIPE_BLOCKED_H_

#include <pthread.h>

#include <csignal>

namespace retnet {

// A connection that Redis has closed must not end the process by SIGPIPE, whatever its disposition.
class SigpipeBlocked {
 public:
  SigpipeBlocked() {
    sigemptyset(&sigpipe_);
    sigaddset(&sigpipe_, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &sigpipe_, &before_);
  }
  SigpipeBlocked(const SigpipeBlocked&) = delete;
  SigpipeBlocked& operator=(const SigpipeBlocked&) = delete;
  ~SigpipeBlocked() {
    if (sigismember(&before_, SIGPIPE) == 0) {
      const timespec at_once = {};
      sigtimedwait(&sigpipe_, nullptr, &at_once);  // takes one that came meanwhile
    }
    pthread_sigmask(SIG_SETMASK, &before_, nullptr);
  }

 private:
  sigset_t sigpipe_;
  sigset_t before_;
};

}  // namespace retnet

#endif  // RETNET_ENGINE_SNAPSHOTS_SIGPIPE_BLOCKED_H_
