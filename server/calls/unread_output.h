// Bounds the memory of answers that wait for clients to read them.
#ifndef RETNET_SERVER_CALLS_UNREAD_OUTPUT_H_
#define RETNET_SERVER_CALLS_UNREAD_OUTPUT_H_

#include <cstdint>
#include <list>
#include <memory>
#include <utility>

#include "absl/status/status.h"
#include "kernels/mutex.h"
#include "kernels/serial_executor.h"
#include "server/calls/open_call.h"

namespace retnet {

// The engine does not wait for readers, so what they do not read piles up. When all answers take
// more than the bound, the call that holds most is ended with RESOURCE_EXHAUSTED: whoever reads
// holds next to nothing. A single call may hold half of the bound. Thread-safe. Must outlive every
// Share.
class UnreadOutput {
  struct Holder {
    std::weak_ptr<OpenCall> call;
    int64_t bytes = 0;
    bool ended = false;
  };

 public:
  // What one call holds. Counts as nothing once it is destroyed. Thread-compatible.
  class Share {
   public:
    explicit Share(UnreadOutput* output) : output_(output) {}
    Share(const Share&) = delete;
    ~Share() { Close(); }

    // The call now holds so many bytes. If it is to be ended, EndUnread is called, on a thread of
    // its own: so mu_ of the call may be held here.
    void Set(OpenCall* call, int64_t bytes);
    // The call holds nothing more. The last call.
    void Close();

   private:
    UnreadOutput* output_;  // null: closed
    bool known_ = false;    // holder_ is there
    std::list<Holder>::iterator holder_;
  };

  explicit UnreadOutput(int64_t bytes) : bytes_(bytes) {}

  int64_t used() const;

 private:
  void Set(Holder* holder, int64_t bytes) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void End(Holder* holder, const absl::Status& status) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  const int64_t bytes_;
  mutable Mutex mu_;
  std::list<Holder> holders_ ABSL_GUARDED_BY(mu_);
  int64_t used_ ABSL_GUARDED_BY(mu_) = 0;  // by those that are not ended
  SerialExecutor worker_;                  // last: its tasks outlive no member
};

}  // namespace retnet

#endif  // RETNET_SERVER_CALLS_UNREAD_OUTPUT_H_
