// Where a text may be cut, so that its parts, tokenized one by one, give the tokens of the whole.
#ifndef RETNET_MODELS_TOKENIZERS_TEXT_CUTS_H_
#define RETNET_MODELS_TOKENIZERS_TEXT_CUTS_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "models/tokenizers/sentencepiece_model.h"

namespace retnet {

// A cut between two characters is safe if no piece of the vocabulary and no rule of the normalizer
// reaches over it. Both BPE and unigram then decide on each side as if the other were not there: a
// merge or a path over the cut would be a piece over the cut. One thing is left: where unigram
// finds two paths of the same score, rounding decides, and it depends on the score of what stands
// before. Immutable; any thread may call any function.
class TextCuts {
 public:
  explicit TextCuts(const SentencePieceModel& model);

  // The first safe cut at `from` or behind it and before `end`, or npos. The text is UTF-8. `from`
  // may be within a character.
  size_t First(std::string_view text, size_t from, size_t end) const;
  // The last safe cut within the text, or npos.
  size_t Last(std::string_view text) const;

  // A text that begins with this one character is tokenized as the character and, independently,
  // what follows it. So behind it a text is tokenized as one that continues another. Empty if the
  // vocabulary has no such character.
  const std::string& anchor() const { return anchor_; }

  // The most bytes of a text that become one token. 0: no bound, since bytes may be left out.
  size_t max_token_bytes() const { return max_token_bytes_; }

 private:
  void AddPieces(const SentencePieceModel& model);
  // Returns whether they are few enough to be looked at.
  bool AddRules(const SentencePieceModel& model);
  void ChooseAnchor(const SentencePieceModel& model);
  void BoundTokens(const SentencePieceModel& model);
  // The character as it is in pieces.
  char32_t Mark(char32_t c) const;
  bool Safe(char32_t before, char32_t after) const;
  // The last character that `c`, at the end of a part, is normalized to; none if that cannot be
  // said of the character alone.
  std::optional<char32_t> NormalizedEnd(char32_t c) const;

  // The first and the last character of what a rule puts in place of its key.
  struct Ends {
    char32_t first = 0;
    char32_t last = 0;
    bool empty = false;  // nothing is put there
  };

  bool cuts_ = false;
  bool marks_spaces_ = true;
  bool removes_extra_spaces_ = true;
  absl::flat_hash_set<uint64_t> piece_pairs_;  // neighbours within a piece
  absl::flat_hash_set<uint64_t> rule_pairs_;   // neighbours within the key of a rule
  absl::flat_hash_set<char32_t> in_user_defined_;
  absl::flat_hash_set<char32_t> ends_rule_;  // the last of a key of several characters
  absl::flat_hash_map<char32_t, Ends> own_rule_;
  // What a text may begin with once it is normalized, for the characters that longer keys begin
  // with, but for their own rule.
  absl::flat_hash_map<char32_t, std::vector<Ends>> begins_rules_;
  std::string anchor_;
  size_t max_token_bytes_ = 0;
};

}  // namespace retnet

#endif  // RETNET_MODELS_TOKENIZERS_TEXT_CUTS_H_
