// Finds the cached states of prefixes of prompts and answers. Bookkeeping only: it knows no device
// and no time.
#ifndef RETNET_ENGINE_STATES_PREFIX_CACHE_H_
#define RETNET_ENGINE_STATES_PREFIX_CACHE_H_

#include <cstdint>
#include <deque>
#include <span>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "engine/states/chunk_keys.h"
#include "engine/states/state_cache.h"

namespace retnet {

// Entries hold references to their states. An entry whose state was evicted is dropped when a
// lookup meets it or when there are too many. Thread-compatible.
class PrefixCache {
 public:
  explicit PrefixCache(int32_t chunk) : chunk_(chunk) {}

  // The longest cached prefix of at most `most` tokens, or an empty one.
  StatePrefix Find(std::span<const ChunkKey> keys, int32_t most);
  // Whether the first `tokens` tokens, whole chunks, are there.
  bool Contains(std::span<const ChunkKey> keys, int32_t tokens) const;
  // The state has seen these `tokens` tokens, whole chunks, and its base is there, or it is full.
  void Insert(std::span<const ChunkKey> keys, int32_t tokens, StateRef state);

  // Remembers a prompt. Returns the length of the longest prefix that it shares with an earlier
  // one: where prompts part, a state is worth caching.
  int32_t Note(std::span<const ChunkKey> keys);

  void Clear() { entries_.clear(); }
  int32_t entries() const { return static_cast<int32_t>(entries_.size()); }

 private:
  const ChunkKey& KeyOf(std::span<const ChunkKey> keys, int32_t tokens) const {
    return keys[tokens / chunk_ - 1];
  }
  void DropEvicted();

  const int32_t chunk_;
  absl::flat_hash_map<ChunkKey, StateRef> entries_;
  size_t drop_at_ = 64;  // entries at which those without a state are looked for
  absl::flat_hash_set<ChunkKey> noted_;
  std::deque<ChunkKey> noted_in_order_;
};

}  // namespace retnet

#endif  // RETNET_ENGINE_STATES_PREFIX_CACHE_H_
