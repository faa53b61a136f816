// Counters of the engine, taken as one consistent picture.
#ifndef RETNET_ENGINE_STATS_H_
#define RETNET_ENGINE_STATS_H_

#include <cstdint>

namespace retnet {

struct SnapshotIoStats {
  int64_t written = 0;
  int64_t written_bytes = 0;  // as stored
  int64_t replaced = 0;       // writes that a newer snapshot of the same session made needless
  int64_t read = 0;
  int64_t read_bytes = 0;       // as stored
  int64_t missing = 0;          // reads of a snapshot that the store does not have
  int64_t refused_damaged = 0;  // reads of damaged bytes
  int64_t refused_foreign = 0;  // reads of a snapshot that is another model's or session's
  int64_t conflicts = 0;        // turns lost to another server that went on with the session
  int64_t queue_full = 0;       // writes refused because too many bytes wait
  int64_t failed = 0;           // any other error, of any operation
  int64_t queued_bytes = 0;     // of writes not finished, now
};

struct EngineStats {
  int32_t waiting = 0;           // accepted, without a slot
  int32_t running = 0;           // with a slot
  int32_t free_slots = 0;        // that no running request has
  int32_t parked_slots = 0;      // of them, those of idle sessions and cached prefixes
  int64_t host_state_bytes = 0;  // of states that gave up their slots
  int64_t pinned_bytes = 0;      // of states of running sequences that gave up their slots
  int64_t evictions = 0;         // from a slot or from host memory
  int64_t preemptions = 0;       // of running sequences that gave up their slots to go on later
  int32_t sessions = 0;          // known here; the store may have more
  // Whose last write to the store failed. After Drain: which the store is not known to have.
  int32_t sessions_not_stored = 0;
  int64_t sessions_lost = 0;   // left memory for others, and their last write failed
  bool store_readable = true;  // the last read of the store worked
  bool store_writable = true;  // the last write did
  int32_t cached_prefixes = 0;
  int64_t cached_prefix_bytes = 0;  // of their states, wherever they are
  int64_t cache_hits = 0;  // requests whose prompt has at least a chunk, each a hit or a miss
  int64_t cache_misses = 0;
  int64_t steps = 0;
  int64_t steps_ahead = 0;    // of them, launched before the one before them was over
  int64_t prompt_tokens = 0;  // computed
  int64_t generated_tokens = 0;
  int64_t drafted_tokens = 0;     // guessed ahead,
  int64_t accepted_tokens = 0;    // and right
  int64_t requests_finished = 0;  // in whatever way
  int64_t requests_refused = 0;   // by Submit
  SnapshotIoStats snapshots;
};

}  // namespace retnet

#endif  // RETNET_ENGINE_STATS_H_
