// Keys for the prefixes of a history that end at chunk boundaries.
#ifndef RETNET_ENGINE_STATES_CHUNK_KEYS_H_
#define RETNET_ENGINE_STATES_CHUNK_KEYS_H_

#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "engine/states/token_history.h"

namespace retnet {

// 128 bits of XXH3 over the owner and all tokens before a boundary. Equal keys mean equal prefixes.
// XXH3 does not resist a search for collisions, but keys contain the owner: a searcher could only
// reach their own prefixes.
struct ChunkKey {
  uint64_t high = 0;
  uint64_t low = 0;
  friend bool operator==(const ChunkKey&, const ChunkKey&) = default;
  template <typename H>
  friend H AbslHashValue(H h, const ChunkKey& key) {
    return H::combine(std::move(h), key.high, key.low);
  }
};

// The keys of one growing history. Each is computed once: key m hashes key m − 1 and the tokens of
// the chunk. Thread-compatible.
class ChunkKeys {
 public:
  // `with_classes`: prefixes whose tokens were computed in different classes have different keys.
  void Begin(const std::string& owner, int32_t chunk, bool with_classes);
  // Adds keys for the whole chunks within the first `tokens` tokens. `history` must be that of the
  // last call with tokens appended.
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
