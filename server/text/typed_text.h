// Tokenizes a text that arrives in pieces. Gives each token as soon as no later piece can change
// it.
#ifndef RETNET_SERVER_TEXT_TYPED_TEXT_H_
#define RETNET_SERVER_TEXT_TYPED_TEXT_H_

#include <deque>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "models/tokenizer.h"
#include "server/text/text_encoding.h"
#include "server/text/text_head.h"
#include "server/text/text_limits.h"

namespace retnet {

// What a part of a turn adds to a session.
struct TypedTokens {
  TextHead head;                // of a text with which the turn begins
  std::vector<TokenId> tokens;  // behind it
  bool has_head_text = false;

  bool empty() const { return tokens.empty() && !has_head_text; }
};

// The turns of a conversation. Each is a sequence of texts and token ids. The tokens of a text do
// not depend on how it was cut into pieces. Text that a later piece could still change is held
// back: what follows the last cut. Thread-compatible. The tokenizer must outlive it.
class TypedText {
 public:
  // If `tokenizer` is null, only token ids are accepted.
  TypedText(const Tokenizer* tokenizer, const TextLimits& limits);

  // The BOS of the first text.
  void set_bos(TextBos bos) { bos_ = bos; }

  // Special tokens may be written in the texts. Call this before the first text.
  void ParseSpecialTokens();

  // FAILED_PRECONDITION without a tokenizer. INVALID_ARGUMENT if the turn's text is too long.
  absl::Status PushText(std::string_view piece);
  // Ends the text that came before the ids.
  void PushTokens(std::span<const TokenId> tokens);

  // Tokenizes a part of what no later piece can change, or of all if the turn ends: some
  // milliseconds. Returns whether nothing is left to do. INVALID_ARGUMENT for text that cannot be
  // cut.
  absl::StatusOr<bool> Step(bool turn_ends);
  // What the steps gave. Call this after the last one.
  TypedTokens Take(bool turn_ends);

  // Text that is held back.
  size_t held_bytes() const;

 private:
  // A text, or token ids.
  struct Item {
    std::string text;
    std::vector<TokenId> ids;
  };
  // How much of the last text is certain.
  size_t CertainBytes();
  absl::Status BeginPart(size_t bytes);
  void EndPart();

  const Tokenizer* tokenizer_;
  const TextLimits limits_;
  TextBos bos_;
  std::deque<Item> items_;
  size_t uncut_bytes_ = 0;   // of the last text: there is no cut before
  bool turn_begun_ = false;  // some of its tokens have been taken, or will be
  TokenId last_ = kNoToken;  // the newest token of the text that goes on; kNoToken: there is none
  int64_t turn_bytes_ = 0;   // of its texts so far
  std::optional<TextEncoding> part_;  // of the first item
  size_t part_bytes_ = 0;             // with its head
  TypedTokens ready_;
};

}  // namespace retnet

#endif  // RETNET_SERVER_TEXT_TYPED_TEXT_H_
