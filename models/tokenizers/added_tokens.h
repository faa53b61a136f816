// The tokens that a tokenizer.json lists beside its vocabulary: they are found in a text before it
// is divided into words.
#ifndef RETNET_MODELS_TOKENIZERS_ADDED_TOKENS_H_
#define RETNET_MODELS_TOKENIZERS_ADDED_TOKENS_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "kernels/tensor.h"

namespace retnet {

// The flags are those of Hugging Face's AddedToken.
struct AddedToken {
  std::string content;
  TokenId id = 0;
  bool special = false;      // has no bytes; in a text only where the request allows it
  bool single_word = false;  // only between characters that are not of a word
  bool lstrip = false;       // takes the spaces before it
  bool rstrip = false;       // takes the spaces behind it
  bool normalized = false;   // looked for in the normalized text, not in the text as it comes
};

// A part of a text: one of the tokens, or what lies between them.
struct AddedSpan {
  size_t begin = 0;
  size_t end = 0;
  const AddedToken* token = nullptr;  // null: text
};

// Finds the leftmost of several strings, of those the longest, and goes on behind it. Immutable.
class AddedTokens {
 public:
  AddedTokens() = default;
  // texts[i], not empty, is what is looked for in the place of tokens[i].
  AddedTokens(std::vector<AddedToken> tokens, const std::vector<std::string>& texts);

  bool empty() const { return tokens_.empty(); }
  const std::vector<AddedToken>& tokens() const { return tokens_; }

  // The parts of a text that is valid UTF-8, in order, none empty. Special tokens are text unless
  // `parse_special`. The time is the text's length times the longest token's, at worst.
  std::vector<AddedSpan> Divide(std::string_view text, bool parse_special) const;

 private:
  // The longest token that `text` begins with, and its length; -1 if there is none.
  int32_t Longest(std::string_view text, size_t* bytes) const;
  bool IsSingleWord(std::string_view text, size_t begin, size_t end) const;

  std::vector<AddedToken> tokens_;
  // A trie: the node behind each node and byte, and the token that ends in each node.
  absl::flat_hash_map<uint64_t, uint32_t> next_;
  std::vector<int32_t> ends_ = {-1};
  std::array<bool, 256> begins_{};  // whether a token begins with the byte
};

}  // namespace retnet

#endif  // RETNET_MODELS_TOKENIZERS_ADDED_TOKENS_H_
