#include "models/tokenizers/control_pieces.h"

#include "kernels/status_macros.h"
#include "models/tokenizers/characters.h"
#include "models/tokenizers/checks.h"

namespace retnet {
namespace {

std::vector<std::string> Contents(const std::vector<AddedToken>& pieces) {
  std::vector<std::string> contents;
  for (const AddedToken& piece : pieces) contents.push_back(piece.content);
  return contents;
}

}  // namespace

ControlPieces::ControlPieces(const Tokenizer* tokenizer, const std::vector<AddedToken>& pieces)
    : tokenizer_(*tokenizer),
      pieces_(pieces, Contents(pieces)),
      max_token_bytes_(tokenizer->max_token_bytes()) {
  for (const AddedToken& piece : pieces) {
    last_characters_.insert(Characters(piece.content).back());
    if (max_token_bytes_ > 0) max_token_bytes_ = std::max(max_token_bytes_, piece.content.size());
  }
}

absl::StatusOr<std::vector<TokenId>> ControlPieces::Encode(std::string_view text,
                                                           bool begins) const {
  RETURN_IF_ERROR(CheckUtf8(text));
  std::vector<TokenId> tokens;
  for (const AddedSpan& span : pieces_.Divide(text, /*parse_special=*/true)) {
    if (span.token != nullptr) {
      tokens.push_back(span.token->id);
      continue;
    }
    const std::string_view part = text.substr(span.begin, span.end - span.begin);
    const bool goes_on = span.begin == 0 && !begins;
    ASSIGN_OR_RETURN(const std::vector<TokenId> next,
                     goes_on ? tokenizer_.EncodeNext(part) : tokenizer_.Encode(part));
    tokens.insert(tokens.end(), next.begin(), next.end());
  }
  return tokens;
}

bool ControlPieces::MayEndPiece(std::string_view text, size_t at) const {
  return last_characters_.contains(CharacterAt(text, BeginOfCharacterBefore(text, at)));
}

size_t ControlPieces::FirstCut(std::string_view text, size_t from, size_t end) const {
  size_t cut = tokenizer_.FirstCut(text, from, end);
  while (cut != std::string_view::npos && MayEndPiece(text, cut)) {
    cut = tokenizer_.FirstCut(text, cut + 1, end);
  }
  return cut;
}

size_t ControlPieces::LastCut(std::string_view text) const {
  size_t cut = tokenizer_.LastCut(text);
  // A cut depends on the characters beside it alone, and those behind it may be left out.
  while (cut != std::string_view::npos && MayEndPiece(text, cut)) {
    cut = tokenizer_.LastCut(text.substr(0, cut));
  }
  return cut;
}

}  // namespace retnet
