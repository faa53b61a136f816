// Where a text may be cut, so that its parts, tokenized one by one by the BPE of a tokenizer.json,
// give the tokens of the whole.
#ifndef RETNET_MODELS_TOKENIZERS_BPE_CUTS_H_
#define RETNET_MODELS_TOKENIZERS_BPE_CUTS_H_

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "models/tokenizers/added_tokens.h"
#include "models/tokenizers/characters.h"
#include "models/tokenizers/tokenizer_json.h"

namespace retnet {

// A cut depends on the two characters beside it alone. No added token may reach over it. Then
// byte-level BPE may be cut where one word ends and the next one begins. The other family may be
// cut where no piece of the vocabulary reaches over: a merge over the cut would be such a piece.
// Immutable; any thread may call any function.
class BpeCuts {
 public:
  // texts[i] is what is looked for in the place of added[i], in the text, or in the normalized one.
  BpeCuts(const TokenizerJson& parsed, const std::vector<AddedToken>& added,
          const std::vector<std::string>& texts);

  // As Tokenizer's FirstCut and LastCut.
  size_t First(std::string_view text, size_t from, size_t end) const;
  size_t Last(std::string_view text) const;

  // Whether no piece reaches over a place in what is between added tokens, in which spaces are
  // marked: each side is then encoded as if the other were not there. Always false for byte-level.
  bool DividesPieces(char32_t before, char32_t after) const {
    return cuts_pieces_ && !pieces_.contains(PairOf(before, after));
  }
  // The most bytes of a text that become one token. 0: no bound.
  size_t max_token_bytes() const { return max_token_bytes_; }

 private:
  void AddToken(const AddedToken& token, const std::string& text);
  void AddPieces(const TokenizerJson& parsed);
  void BoundTokens(const TokenizerJson& parsed, const std::vector<AddedToken>& added);
  bool Safe(char32_t before, char32_t after) const;
  bool MeetsAdded(char32_t before, char32_t after) const;
  char32_t Mark(char32_t c) const { return c == ' ' && !pipeline_.byte_level ? kSpaceMark : c; }

  const TextPipeline pipeline_;
  const TokenId unknown_;
  bool cuts_pieces_ = false;
  bool cuts_at_spaces_alone_ = false;
  bool strips_ = false;                        // an added token takes the spaces beside it
  absl::flat_hash_set<uint64_t> pieces_;       // neighbours within a piece
  absl::flat_hash_set<uint64_t> added_;        // neighbours within an added token
  absl::flat_hash_set<char32_t> ends_word_;    // the last characters of those that are single words
  absl::flat_hash_set<char32_t> begins_word_;  // and their first ones
  absl::flat_hash_set<char32_t> ends_part_;    // behind these, a text may be taken to begin
  absl::flat_hash_set<char32_t> begins_unknown_;  // the first characters of the unknown token
  size_t max_token_bytes_ = 0;
};

}  // namespace retnet

#endif  // RETNET_MODELS_TOKENIZERS_BPE_CUTS_H_
