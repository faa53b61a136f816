// Bounds of what calls hold of the server's memory for their clients.
#ifndef RETNET_SERVER_CALLS_STREAM_LIMITS_H_
#define RETNET_SERVER_CALLS_STREAM_LIMITS_H_

#include <cstdint>

#include "absl/time/time.h"

namespace retnet {

struct StreamLimits {
  int64_t transfer_bytes = 128 << 20;  // of all snapshots in Export and Import: see TransferTurns
  // An Export whose client takes nothing for so long, and an Import whose client sends nothing, is
  // ended.
  absl::Duration transfer_idle = absl::Seconds(30);
  int64_t unread_bytes = 128 << 20;  // of all answers that wait for their readers: see UnreadOutput
};

}  // namespace retnet

#endif  // RETNET_SERVER_CALLS_STREAM_LIMITS_H_
