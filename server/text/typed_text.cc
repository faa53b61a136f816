#include "server/text/typed_text.h"

#include <algorithm>
#include <utility>

#include "kernels/status_macros.h"

namespace retnet {
namespace {

// Encoded before every part but the first. Encoders treat the beginning of a text specially: they
// add a space there or remove spaces. With this word in front, a part is encoded as a continuation.
constexpr std::string_view kAnchor = "a";

// The text of the unknown token, " ⁇ ". It is not a piece of any text.
constexpr std::string_view kUnknownSurface = " \xE2\x81\x87 ";

// True if the last character of `end`, which has several bytes, may become a space when the text is
// normalised: a character from a block that holds Unicode's spaces or SentencePiece's mark
// (U+2581).
bool MayBeSpace(std::string_view end) {
  for (const std::string_view block :
       {"\xC2\x85", "\xC2\xA0", "\xE1\x9A\x80", "\xE3\x80\x80", "\xE2\x96\x81", "\xEF\xBB\xBF"}) {
    if (end.substr(end.size() - std::min(end.size(), block.size())) == block) return true;
  }
  if (end.size() < 3) return false;
  const std::string_view block = end.substr(end.size() - 3, 2);
  return block == "\xE2\x80" || block == "\xE2\x81";
}

// The length of the longest prefix that ends with a word and is followed by a space. 0 if there is
// none.
size_t LastCut(std::string_view text) {
  for (size_t i = text.size(); i-- > 1;) {
    if (text[i] != ' ') continue;
    const unsigned char before = text[i - 1];
    if (before > ' ' && before != 0x7F && !MayBeSpace(text.substr(0, i))) return i;
  }
  return 0;
}

}  // namespace

bool CutsAtSpaces(const Tokenizer& tokenizer) {
  for (TokenId token = 0; token < tokenizer.vocab_size(); ++token) {
    const std::string_view bytes = tokenizer.Bytes(token);
    const size_t word = bytes.find_first_not_of(' ');
    if (word == std::string_view::npos || bytes == kUnknownSurface) continue;
    if (bytes.find(' ', word) != std::string_view::npos) return false;
  }
  return true;
}

TypedText::TypedText(const Tokenizer* tokenizer)
    : tokenizer_(tokenizer), cuts_at_spaces_(tokenizer != nullptr && CutsAtSpaces(*tokenizer)) {}

absl::Status TypedText::PushText(std::string_view piece) {
  if (tokenizer_ == nullptr) {
    return absl::FailedPreconditionError(
        "text needs a tokenizer and the model has none; it serves token ids only");
  }
  held_ += piece;
  return absl::OkStatus();
}

absl::Status TypedText::PushTokens(std::span<const TokenId> tokens) {
  RETURN_IF_ERROR(Encode(held_.size()));
  begun_ = false;
  ready_.insert(ready_.end(), tokens.begin(), tokens.end());
  return absl::OkStatus();
}

absl::StatusOr<std::vector<TokenId>> TypedText::TakeCertain() {
  if (cuts_at_spaces_) RETURN_IF_ERROR(Encode(LastCut(held_)));
  return std::exchange(ready_, {});
}

absl::StatusOr<std::vector<TokenId>> TypedText::TakeAll() {
  RETURN_IF_ERROR(Encode(held_.size()));
  begun_ = false;
  return std::exchange(ready_, {});
}

absl::Status TypedText::Encode(size_t bytes) {
  if (bytes == 0) return absl::OkStatus();
  const std::string part = held_.substr(0, bytes);
  if (!begun_) {
    ASSIGN_OR_RETURN(const std::vector<TokenId> tokens, tokenizer_->Encode(part));
    ready_.insert(ready_.end(), tokens.begin(), tokens.end());
  } else {
    ASSIGN_OR_RETURN(const std::vector<TokenId> anchor, tokenizer_->Encode(kAnchor));
    ASSIGN_OR_RETURN(const std::vector<TokenId> tokens,
                     tokenizer_->Encode(std::string(kAnchor) + part));
    ready_.insert(ready_.end(), tokens.begin() + std::min(anchor.size(), tokens.size()),
                  tokens.end());
  }
  begun_ = true;
  held_.erase(0, bytes);
  return absl::OkStatus();
}

}  // namespace retnet
