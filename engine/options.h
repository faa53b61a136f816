// Every option of the engine with its default: one struct for each class that reads them, in the
// order of ownership. Whoever passes options on passes the whole struct.
#ifndef RETNET_ENGINE_OPTIONS_H_
#define RETNET_ENGINE_OPTIONS_H_

#include <cstdint>
#include <memory>

#include "absl/time/time.h"
#include "engine/snapshots/snapshot_key.h"
#include "engine/snapshots/state_codec.h"

namespace retnet {

struct StateCacheOptions {
  // Bytes of host memory for states that gave up their slots.
  int64_t host_bytes = int64_t{1} << 30;
  // Bytes of host memory, beside these, for states of sequences that gave up their slots to go on
  // later. Where they are used up, nobody is preempted.
  int64_t pinned_bytes = int64_t{1} << 30;
};

struct StateManagerOptions {
  bool prefix_cache = true;
  // A cached prefix serves only prompts whose tokens are of the same row classes: exact on every
  // backend.
  bool deterministic = false;
};

struct SessionsOptions {
  int32_t max_kept = 65536;  // sessions in memory, those with a running request included
  // A store that several servers write has so long to say whether it has a newer version of a
  // session in memory. Then the session goes on as it is here; if another server went on with it
  // too, the write finds the conflict.
  absl::Duration check_patience = absl::Milliseconds(500);
};

struct ExecutorOptions {
  // Row budget of a step. 0, or more than the model's max_rows: the model's max_rows.
  int32_t max_rows = 0;
  // Target duration of a step that mixes prompts with decoding. Prompts may always make such a step
  // half again as long as its decoding rows alone would take.
  absl::Duration max_step = absl::Milliseconds(50);
  StateCacheOptions state_cache = {};
  StateManagerOptions state_manager = {};
  SessionsOptions sessions = {};
};

// How sessions are written to the snapshot store and exported.
struct SnapshotOptions {
  StateEncoding encoding = StateEncoding::kExact;
  int zstd_level = 0;  // 0: not compressed
  std::shared_ptr<const SnapshotKey>
      key;  // signs them, and only those so signed are taken; or null
};

struct EngineOptions {
  int32_t max_queue = 256;             // requests accepted and waiting for a slot
  int32_t max_context_length = 32768;  // tokens of a session's history, prompt and output together
  // Drain waits at least so long for the store to write what it was given.
  absl::Duration store_grace = absl::Seconds(10);
  ExecutorOptions executor = {};
  SnapshotOptions snapshots = {};
};

}  // namespace retnet

#endif  // RETNET_ENGINE_OPTIONS_H_
