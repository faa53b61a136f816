// Names of a history's prefixes that end at chunk boundaries.
#ifndef RETNET_ENGINE_STATES_CHUNK_KEYS_H_
#define RETNET_ENGINE_STATES_CHUNK_KEYS_H_

#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "engine/states/token_history.h"

namespace retnet {

// 128 bits of XXH3 over the owner and all tokens before a boundary: equal keys, equal prefixes. It
// is no defence against who searches collisions, but such a one meets only what is their own.
struct ChunkKey {
  uint64_t high = 0;
  uint64_t low = 0;
  friend bool operator==(const ChunkKey&, const ChunkKey&) = default;
  template <typename H>
  friend H AbslHashValue(H h, const ChunkKey& key) {
    return H::combine(std::move(h), key.high, key.low);
  }
};

// The keys of one growing history, each computed once: key m hashes key m − 1 and the chunk's
// tokens. Thread-compatible.
class ChunkKeys {
 public:
  // `with_classes`: prefixes whose tokens were computed in different classes have different keys.
  void Begin(const std::string& owner, int32_t chunk, bool with_classes);
  // Takes in the whole chunks of the history's first `tokens`. The history is the last call's with
  // tokens appended.
  void Extend(const TokenHistory& history, int32_t tokens);

  // The i-th names the prefix of (i + 1) · chunk tokens.
  std::span<const ChunkKey> keys() const { return keys_; }

 private:
  int32_t chunk_ = 1;
  bool with_classes_ = false;
  ChunkKey seed_;
  std::vector<ChunkKey> keys_;
};

}  // namespace retnet

#endif  // RETNET_ENGINE_STATES_CHUNK_KEYS_H_
