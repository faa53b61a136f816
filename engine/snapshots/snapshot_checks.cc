#include "engine/snapshots/snapshot_checks.h"

#include <cstdint>

#include "absl/strings/str_cat.h"

namespace retnet {

absl::Status CheckConsistent(const Snapshot& snapshot, const SnapshotFormat& format) {
  const int32_t chunk = format.chunk;
  const auto [base, position] = snapshot.shape;
  const auto length = static_cast<int64_t>(snapshot.history.size());
  if (base < 0 || base % chunk != 0 || position < base || position - base > chunk ||
      (position > 0 && position >= length)) {
    return absl::InvalidArgumentError(
        absl::StrCat("a state of ", position, " tokens over a base at ", base,
                     " does not fit a history of ", length, " in chunks of ", chunk));
  }
  for (const TokenId token : snapshot.history) {
    if (token >= 0 && token < format.vocab_size) continue;
    return absl::InvalidArgumentError(
        absl::StrCat("token ", token, " in a history; the vocabulary has ", format.vocab_size));
  }
  const auto [cut, cut_bytes] = snapshot.cut;
  if (cut != kNoToken && (cut < 0 || cut >= format.vocab_size || cut_bytes < 1)) {
    return absl::InvalidArgumentError(
        absl::StrCat(cut_bytes, " bytes of token ", cut, " follow a history"));
  }
  for (int64_t least = 0; const int32_t at : snapshot.class_runs) {
    if (at < least || at >= length) {
      return absl::InvalidArgumentError(
          absl::StrCat("the class of tokens changes at ", at, " in a history of ", length));
    }
    least = int64_t{at} + 1;
  }
  return absl::OkStatus();
}

}  // namespace retnet
