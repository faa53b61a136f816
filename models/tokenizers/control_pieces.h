// Lets the control pieces of a SentencePiece model be written in a text, which SentencePiece itself
// takes as text.
#ifndef RETNET_MODELS_TOKENIZERS_CONTROL_PIECES_H_
#define RETNET_MODELS_TOKENIZERS_CONTROL_PIECES_H_

#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "models/tokenizer.h"
#include "models/tokenizers/added_tokens.h"

namespace retnet {

// What follows a control piece begins like a text, with a space before it where the model adds one.
class ControlPieces : public Tokenizer {
 public:
  // `tokenizer` must outlive this. `pieces` are control pieces, and special.
  ControlPieces(const Tokenizer* tokenizer, const std::vector<AddedToken>& pieces);

  absl::StatusOr<std::vector<TokenId>> Encode(std::string_view text) const override {
    return Encode(text, /*begins=*/true);
  }
  absl::StatusOr<std::vector<TokenId>> EncodeNext(std::string_view text) const override {
    return Encode(text, /*begins=*/false);
  }
  // A cut of the tokenizer's, but none behind what may be the end of a control piece.
  size_t FirstCut(std::string_view text, size_t from, size_t end) const override;
  size_t LastCut(std::string_view text) const override;
  size_t max_token_bytes() const override { return max_token_bytes_; }

  int32_t vocab_size() const override { return tokenizer_.vocab_size(); }
  bool adds_bos() const override { return tokenizer_.adds_bos(); }
  TokenId bos() const override { return tokenizer_.bos(); }
  void Join(std::span<const TokenId> next, std::vector<TokenId>* tokens) const override {
    tokenizer_.Join(next, tokens);
  }
  absl::StatusOr<std::string> Decode(std::span<const TokenId> tokens) const override {
    return tokenizer_.Decode(tokens);
  }
  std::string_view Bytes(TokenId token) const override { return tokenizer_.Bytes(token); }

 private:
  absl::StatusOr<std::vector<TokenId>> Encode(std::string_view text, bool begins) const;
  bool MayEndPiece(std::string_view text, size_t at) const;

  const Tokenizer& tokenizer_;
  AddedTokens pieces_;
  absl::flat_hash_set<char32_t> last_characters_;  // of the pieces
  size_t max_token_bytes_ = 0;
};

}  // namespace retnet

#endif  // RETNET_MODELS_TOKENIZERS_CONTROL_PIECES_H_
