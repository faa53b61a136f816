// The beginning of what a request adds to a session: it depends on the session's history, which
// only the engine knows.
#ifndef RETNET_SERVER_TEXT_TEXT_HEAD_H_
#define RETNET_SERVER_TEXT_TEXT_HEAD_H_

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "engine/request.h"
#include "engine/states/token_history.h"
#include "models/tokenizer.h"
#include "server/text/text_limits.h"

namespace retnet {

// The tokens of a text that goes on behind `last`, without those that become part of it. kNoToken:
// nothing is before.
std::vector<TokenId> JoinBehind(const Tokenizer& tokenizer, TokenId last,
                                std::vector<TokenId> next);

// The BOS of a text.
struct TextBos {
  TokenId token = kNoToken;    // kNoToken: none
  bool only_if_first = false;  // only if the session has no history
};

// The bytes of an incomplete character with which a history ends. They were kept back from the text
// of the request that made it, and are given with the text of the next one.
using BegunCharacter = std::string;

// Tokens that are there never change. The first text of a session is tokenized as one that begins,
// other texts as ones that follow. A text that a BOS precedes begins. Copyable; immutable once it
// is complete. The tokenizer must outlive it.
class TextHead {
 public:
  // If `tokenizer` is null, the head is empty.
  explicit TextHead(const Tokenizer* tokenizer, TextBos bos = {})
      : tokenizer_(tokenizer), bos_(bos) {}

  // Takes the beginning of the text up to its first cut, and returns its length. It is all of the
  // text if that has no cut. INVALID_ARGUMENT if it is longer than max_uncut_bytes.
  absl::StatusOr<size_t> TakeFrom(std::string_view text, const TextLimits& limits);

  // For requests that add more than the head, which therefore cannot complete a character.
  PromptHead Make(const TokenHistory& history, RequestKind kind) const;
  // The last token of a text that follows others; what is behind the head is joined to it. kNoToken
  // if there is none.
  TokenId last_token() const { return if_next_.empty() ? kNoToken : if_next_.back(); }

 private:
  std::vector<TokenId> CutTokens(const CutToken& cut) const;

  const Tokenizer* tokenizer_;
  TextBos bos_;
  std::string text_;
  std::vector<TokenId> if_first_;  // its tokens, without BOS
  std::vector<TokenId> if_next_;
};

// What a request does when its turn on its session has come. If it adds nothing (`adds` is false),
// `begun` gets the bytes of the character that it may complete.
HeadMaker MakeHead(const Tokenizer* tokenizer, TextHead head, RequestKind kind, bool adds,
                   std::shared_ptr<BegunCharacter> begun);

}  // namespace retnet

#endif  // RETNET_SERVER_TEXT_TEXT_HEAD_H_
