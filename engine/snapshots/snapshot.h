// A session off the device, and the bytes that it is written as. docs/snapshots.md has the format:
// its fields, what a reader checks, the rule for new versions, and an example byte by byte.
#ifndef RETNET_ENGINE_SNAPSHOTS_SNAPSHOT_H_
#define RETNET_ENGINE_SNAPSHOTS_SNAPSHOT_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "engine/session.h"
#include "engine/snapshots/snapshot_key.h"
#include "engine/snapshots/state_codec.h"
#include "engine/states/byte_vector.h"
#include "engine/states/token_history.h"
#include "models/model.h"

namespace retnet {

struct Snapshot {
  SessionKey key;
  std::map<std::string, std::string> labels;
  absl::Time created;
  absl::Time last_used;
  absl::Time expires = absl::InfiniteFuture();  // never
  uint64_t version = 0;                         // rises by one with each generation of the session
  std::vector<TokenId> history;                 // the newest one is pending
  // Positions at which the class of the tokens changes, ascending. The first run is of prompt
  // tokens. It is empty when 0 is the first change.
  std::vector<int32_t> class_runs;
  // position < history.size(), or both are 0.
  Model::StateShape shape;
  // Model::StateBytes(shape) bytes in the device's own types; null serves for none.
  std::shared_ptr<const ByteVector> state;
  // True if the state was never stored with a lossy encoding.
  bool exact = true;
  // True if a client sent the session, or one that it was forked from: nobody vouches that the
  // state is that of the tokens.
  bool imported = false;
  // True if it was read with a key and has that key's HMAC: a server that has the key wrote it.
  bool authentic = false;
  CutToken cut;  // behind the history
};

// What the bytes of a snapshot must agree with, and how new ones are written.
struct SnapshotFormat {
  uint64_t model_fingerprint = 0;
  int32_t vocab_size = 0;  // which the fingerprint implies; tokens are below it
  int32_t chunk = 1;
  int64_t base_bytes = 0;
  int64_t tail_token_bytes = 0;
  ElementType base_type = ElementType::kFloat32;
  ElementType tail_type = ElementType::kFloat32;
  StateEncoding encoding = StateEncoding::kExact;
  int zstd_level = 0;  // 0: not compressed
  // Signs what is written; what is read must be signed with it. nullptr: neither. Not owned.
  const SnapshotKey* key = nullptr;
};

SnapshotFormat MakeSnapshotFormat(const ModelInfo& info, StateEncoding encoding, int zstd_level,
                                  const SnapshotKey* key = nullptr);

// No snapshot of the format with a history of so many tokens is larger, whatever its encoding.
int64_t MostSnapshotBytes(const SnapshotFormat& format, int64_t tokens);

// INVALID_ARGUMENT for a snapshot that does not agree with itself or the format. A state with a
// number that is NaN or infinite is left out: whoever loads the session computes its tokens again.
absl::StatusOr<std::string> EncodeSnapshot(const Snapshot& snapshot, const SnapshotFormat& format);

// Whatever `expected` writes itself, it reads every StateEncoding, compressed or not. DATA_LOSS for
// bytes that are damaged, and for a state that is not finite; FAILED_PRECONDITION, naming what
// differs, for those of another model, chunk, shape, type or version, and for those without the
// HMAC of `expected.key`. Allocates no more than the bytes and the model's state call for.
absl::StatusOr<Snapshot> DecodeSnapshot(std::string_view bytes, const SnapshotFormat& expected);

// What a snapshot says of its session, from its first bytes alone and so not checked for damage.
// With a key, it must say that it has an HMAC; that this is right only DecodeSnapshot can tell.
// OUT_OF_RANGE where they end too early; else the errors of DecodeSnapshot.
absl::StatusOr<SessionInfo> DecodeSnapshotHead(std::string_view bytes,
                                               const SnapshotFormat& expected);

}  // namespace retnet

#endif  // RETNET_ENGINE_SNAPSHOTS_SNAPSHOT_H_
