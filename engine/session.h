// What the engine is told and tells of sessions: histories that outlive requests, with the state
// that spares computing them again.
#ifndef RETNET_ENGINE_SESSION_H_
#define RETNET_ENGINE_SESSION_H_

#include <cstdint>
#include <functional>
#include <map>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "engine/session_key.h"

namespace retnet {

using SessionLabels = std::map<std::string, std::string>;

// Where a session's state is. Without one its history is computed again when it goes on, from the
// longest cached prefix, to the same bits.
enum class StateTier { kNone, kDevice, kHost, kStore };

struct SessionSpec {
  SessionKey key;  // an empty id: one is made
  // Forgotten when it has not been used for so long. Infinite: never.
  absl::Duration ttl = absl::InfiniteDuration();
  SessionLabels labels;
};

// How far a history is taken back.
struct Rewind {
  enum class Counts { kKept, kDropped };
  Counts counts = Counts::kKept;  // what `tokens` counts: the oldest, or the newest
  int32_t tokens = 0;
};

struct SessionInfo {
  SessionKey key;
  SessionLabels labels;
  absl::Time created;
  absl::Time last_used;
  absl::Time expires;        // InfiniteFuture: never
  int32_t tokens = 0;        // of the history; the newest one is pending
  int32_t state_tokens = 0;  // of them, how many the state has seen; 0 without one
  int64_t state_bytes = 0;
  StateTier tier = StateTier::kNone;
  bool busy = false;     // a request runs on it
  uint64_t version = 0;  // rises with every change of the history
};

// ABORTED if a session has fewer tokens than a client has seen of it. A restart made it older.
absl::Status CheckNotOlder(const SessionKey& key, int32_t tokens, int32_t seen);

// The answer to a call on sessions: called once, on the engine thread, or by the call itself where
// it is refused; must not block.
template <typename T>
using Reply = std::function<void(absl::StatusOr<T>)>;

}  // namespace retnet

#endif  // RETNET_ENGINE_SESSION_H_
