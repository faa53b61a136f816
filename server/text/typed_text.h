// Tokenizes a text that arrives in pieces. Gives each token as soon as no later piece can change
// it.
#ifndef RETNET_SERVER_TEXT_TYPED_TEXT_H_
#define RETNET_SERVER_TEXT_TYPED_TEXT_H_

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "models/tokenizer.h"

namespace retnet {

// True if a text may be cut before a space that follows a word and its parts encoded one by one.
// This holds if every token has spaces only at its beginning.
bool CutsAtSpaces(const Tokenizer& tokenizer);

// One turn of a conversation: a sequence of texts and token ids. The tokens of a text do not depend
// on how it was cut into pieces. Text that a later piece could still change is held back: the
// newest word, or all of it if the vocabulary does not allow cuts at spaces. Thread-compatible. The
// tokenizer must outlive it.
class TypedText {
 public:
  // If `tokenizer` is null, only token ids are accepted.
  explicit TypedText(const Tokenizer* tokenizer);

  // FAILED_PRECONDITION without a tokenizer.
  absl::Status PushText(std::string_view piece);
  // Ends the text that came before the ids.
  absl::Status PushTokens(std::span<const TokenId> tokens);

  // Returns the new tokens that no later piece can change.
  absl::StatusOr<std::vector<TokenId>> TakeCertain();
  // Ends the turn. Returns all tokens that are left.
  absl::StatusOr<std::vector<TokenId>> TakeAll();

  // True if nothing is left to take.
  bool empty() const { return ready_.empty() && held_.empty(); }
  size_t held_bytes() const { return held_.size(); }

 private:
  // Encodes the first `bytes` bytes of held_ as a continuation of the text and moves the tokens to
  // ready_.
  absl::Status Encode(size_t bytes);

  const Tokenizer* const tokenizer_;
  const bool cuts_at_spaces_;
  std::vector<TokenId> ready_;
  std::string held_;    // text that is not encoded yet
  bool begun_ = false;  // a part of this text has been encoded
};

}  // namespace retnet

#endif  // RETNET_SERVER_TEXT_TYPED_TEXT_H_
