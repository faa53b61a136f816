// Tells the operator how the snapshot store is: in the log, and as the health of a service.
#ifndef RETNET_SERVER_OPS_STORE_WATCH_H_
#define RETNET_SERVER_OPS_STORE_WATCH_H_

#include <array>
#include <cstdint>
#include <functional>

#include "absl/time/time.h"
#include "engine/store_event.h"
#include "kernels/mutex.h"
#include "kernels/serial_executor.h"

namespace retnet {

// The name under which the gRPC health service tells whether the store works. It is unknown on a
// server without a store.
inline constexpr char kStoreService[] = "retnet.store";

// Thread-safe. It must outlive the engine that it listens to.
class StoreWatch {
 public:
  using SetHealth = std::function<void(bool healthy)>;

  // For Engine. It writes and answers on a thread of its own, so that a log that is written slowly
  // holds nothing up.
  StoreListener Listener();
  // Calls `set_health` now and at each change; null: not any more.
  void TellHealth(SetHealth set_health);

 private:
  static constexpr int kKinds = 5;  // of StoreEvent::Kind
  // What was logged of one kind of event.
  struct Logged {
    absl::Time last = absl::InfinitePast();
    bool failing = false;  // the last message said so
    int64_t left_out = 0;  // events since
  };

  void Handle(const StoreEvent& event);
  void WriteLog(const StoreEvent& event) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  Mutex mu_;
  SetHealth set_health_ ABSL_GUARDED_BY(mu_);
  bool readable_ ABSL_GUARDED_BY(mu_) = true;
  bool writable_ ABSL_GUARDED_BY(mu_) = true;
  std::array<Logged, kKinds> logged_ ABSL_GUARDED_BY(mu_);
  SerialExecutor worker_;  // last: its tasks use all of the above
};

}  // namespace retnet

#endif  // RETNET_SERVER_OPS_STORE_WATCH_H_
