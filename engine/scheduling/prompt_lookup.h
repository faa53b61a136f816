// Guesses the next tokens of a sequence from its own: what followed the same tokens last time
// (prompt lookup decoding, A. Saxena 2023, github.com/apoorvumang/prompt-lookup-decoding).
#ifndef RETNET_ENGINE_SCHEDULING_PROMPT_LOOKUP_H_
#define RETNET_ENGINE_SCHEDULING_PROMPT_LOOKUP_H_

#include <cstdint>
#include <span>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "models/model.h"

namespace retnet {

// An index of the places where each run of kNgram tokens last ended, kept up to date token by
// token: a guess costs one look-up, whatever the length of the history. How many tokens it guesses
// follows how many of the last guess were right. Thread-compatible.
class PromptLookup {
 public:
  static constexpr int32_t kNgram = 3;

  // At most so many tokens a guess; 0: guesses nothing and costs nothing.
  explicit PromptLookup(int32_t most = 0) : most_(most), next_(most) {}

  // Appends to `guess` the tokens, up to `most`, that followed the last kNgram of `history` where
  // they stood before; nothing where they did not. `history` is the last call's with tokens
  // appended.
  void Guess(std::span<const TokenId> history, int32_t most, std::vector<TokenId>* guess);
  // Of a guess of `guessed` tokens so many were right.
  void Learn(int32_t guessed, int32_t right);

 private:
  int32_t most_;
  int32_t next_;                                 // tokens of the next guess
  int32_t indexed_ = 0;                          // tokens whose n-grams are in the index
  absl::flat_hash_map<uint64_t, int32_t> ends_;  // of an n-gram's hash: where the last one ended
};

}  // namespace retnet

#endif  // RETNET_ENGINE_SCHEDULING_PROMPT_LOOKUP_H_
