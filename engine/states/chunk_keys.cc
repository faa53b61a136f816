#include "engine/states/chunk_keys.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <algorithm>

namespace retnet {
namespace {

ChunkKey KeyOf(XXH128_hash_t hash) { return {.high = hash.high64, .low = hash.low64}; }

}  // namespace

void ChunkKeys::Begin(const std::string& owner, int32_t chunk, bool with_classes) {
  chunk_ = chunk;
  with_classes_ = with_classes;
  seed_ = KeyOf(XXH3_128bits(owner.data(), owner.size()));
  keys_.clear();
}

void ChunkKeys::Extend(const TokenHistory& history, int32_t tokens) {
  const int32_t chunks = std::min(tokens, history.size()) / chunk_;
  XXH3_state_t state;
  while (keys_.size() < chunks) {
    const auto first = static_cast<int32_t>(keys_.size()) * chunk_;
    const ChunkKey& before = keys_.empty() ? seed_ : keys_.back();
    const auto chunk = history.tokens().subspan(first, chunk_);
    XXH3_128bits_reset(&state);
    XXH3_128bits_update(&state, &before, sizeof(before));
    XXH3_128bits_update(&state, chunk.data(), chunk.size_bytes());
    for (int32_t end = first; with_classes_ && end < first + chunk_;) {
      const int32_t run[2] = {static_cast<int32_t>(history.ClassAt(end)), end - first};
      XXH3_128bits_update(&state, run, sizeof(run));
      end = history.RunEnd(end);
    }
    keys_.push_back(KeyOf(XXH3_128bits_digest(&state)));
  }
}

}  // namespace retnet
