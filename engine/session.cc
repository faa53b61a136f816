#include "engine/session.h"

#include "absl/strings/str_cat.h"

namespace retnet {

absl::Status CheckNotOlder(const SessionKey& key, int32_t tokens, int32_t seen) {
  if (tokens >= seen) return absl::OkStatus();
  return absl::AbortedError(absl::StrCat(
      "session ", key.id, " has ", tokens, " tokens and session_tokens is ", seen,
      ": it is older than what the client has seen; leave session_tokens out to go on from there"));
}

}  // namespace retnet
