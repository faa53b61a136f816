// What the operator of a server should hear of its snapshot store.
#ifndef RETNET_ENGINE_STORE_EVENT_H_
#define RETNET_ENGINE_STORE_EVENT_H_

#include <cstdint>
#include <functional>

#include "absl/status/status.h"
#include "engine/session_key.h"

namespace retnet {

struct StoreEvent {
  enum class Kind {
    kReads,     // the store could not be read; OK: it can be again
    kWrites,    // the store could not be written; OK: it can be again
    kRefused,   // a stored snapshot was not loaded: damaged, or not one of this model
    kConflict,  // what a session got here is lost, because another server went on with it
    kLost,      // a session left memory, and its last write failed after that
  };
  Kind kind = Kind::kReads;
  absl::Status status;
  SessionKey session;               // without an id: the event is not of one session
  int32_t sessions_not_stored = 0;  // in memory, whose last write failed
};

// Called on the engine thread: it must not block.
using StoreListener = std::function<void(const StoreEvent&)>;

}  // namespace retnet

#endif  // RETNET_ENGINE_STORE_EVENT_H_
