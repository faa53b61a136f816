// The tokens of a text that arrives in pieces, as soon as they are certain.
#ifndef RETNET_SERVER_TEXT_TYPED_TEXT_H_
#define RETNET_SERVER_TEXT_TYPED_TEXT_H_

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "models/tokenizer.h"

namespace retnet {

// Whether a text may be cut before a space that follows a word, and its parts be encoded one by
// one: no token has a space behind anything else.
bool CutsAtSpaces(const Tokenizer& tokenizer);

// One turn of a conversation: texts and token ids in a row. A text's tokens are those of all of it,
// however it was cut; what a later piece could still change is held back: the newest word, or
// everything where texts cannot be cut at spaces. Thread-compatible; the tokenizer must outlive it.
class TypedText {
 public:
  // Without a tokenizer (nullptr) there are token ids only.
  explicit TypedText(const Tokenizer* tokenizer);

  // FAILED_PRECONDITION without a tokenizer.
  absl::Status PushText(std::string_view piece);
  // Ends the text before it.
  absl::Status PushTokens(std::span<const TokenId> tokens);

  // Tokens that no later piece changes, each once.
  absl::StatusOr<std::vector<TokenId>> TakeCertain();
  // The turn has ended: all tokens that are left.
  absl::StatusOr<std::vector<TokenId>> TakeAll();

  // Nothing is left to take.
  bool empty() const { return ready_.empty() && held_.empty(); }
  size_t held_bytes() const { return held_.size(); }

 private:
  // Encodes the first bytes of held_ behind what came before them and moves them to ready_.
  absl::Status Encode(size_t bytes);

  const Tokenizer* const tokenizer_;
  const bool cuts_at_spaces_;
  std::vector<TokenId> ready_;
  std::string held_;    // the text that is not encoded yet
  bool begun_ = false;  // something of this text has been encoded
};

}  // namespace retnet

#endif  // RETNET_SERVER_TEXT_TYPED_TEXT_H_
