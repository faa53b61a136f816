#include "server/text/typed_text.h"

#include <utility>

#include "kernels/status_macros.h"

namespace retnet {

TypedText::TypedText(const Tokenizer* tokenizer, const TextLimits& limits)
    : tokenizer_(tokenizer), limits_(limits), ready_{TextHead(tokenizer), {}} {}

void TypedText::ParseSpecialTokens() {
  if (tokenizer_ == nullptr) return;
  tokenizer_ = &tokenizer_->ParsingSpecialTokens();
  ready_.head = TextHead(tokenizer_);
}

absl::Status TypedText::PushText(std::string_view piece) {
  if (tokenizer_ == nullptr) {
    return absl::FailedPreconditionError(
        "text needs a tokenizer and the model has none; it serves token ids only");
  }
  turn_bytes_ += static_cast<int64_t>(piece.size());
  RETURN_IF_ERROR(CheckTextBytes("the text of this turn", turn_bytes_, limits_, "split it"));
  if (piece.empty()) return absl::OkStatus();
  if (items_.empty() || items_.back().text.empty()) items_.emplace_back();
  items_.back().text += piece;
  return absl::OkStatus();
}

// Ids are taken as they are, at a history's begin too.
void TypedText::PushTokens(std::span<const TokenId> tokens) {
  if (tokens.empty()) return;
  if (items_.empty()) bos_ = {};
  items_.push_back({.text = "", .ids = {tokens.begin(), tokens.end()}});
  uncut_bytes_ = 0;
}

size_t TypedText::held_bytes() const {
  size_t bytes = 0;
  for (const Item& item : items_) bytes += item.text.size();
  return bytes;
}

// Whether there is a cut depends on the characters beside it alone.
size_t TypedText::CertainBytes() {
  const std::string& text = items_.back().text;
  const size_t cut = tokenizer_->LastCut(std::string_view(text).substr(uncut_bytes_));
  if (cut != std::string_view::npos) return uncut_bytes_ + cut;
  uncut_bytes_ = text.size();
  do {
    --uncut_bytes_;
  } while (uncut_bytes_ > 0 && (text[uncut_bytes_] & 0xC0) == 0x80);
  return 0;
}

absl::Status TypedText::BeginPart(size_t bytes) {
  const std::string_view text = std::string_view(items_.front().text).substr(0, bytes);
  size_t head_bytes = 0;
  if (!turn_begun_) {
    ready_.head = TextHead(tokenizer_, bos_);
    ASSIGN_OR_RETURN(head_bytes, ready_.head.TakeFrom(text, limits_));
    ready_.has_head_text = true;
    last_ = ready_.head.last_token();
    if (!bos_.only_if_first) bos_ = {};
  }
  turn_begun_ = true;
  part_bytes_ = bytes;
  part_.emplace(tokenizer_, text.substr(head_bytes), /*begins=*/false, limits_);
  return absl::OkStatus();
}

void TypedText::EndPart() {
  const std::vector<TokenId> tokens = JoinBehind(*tokenizer_, last_, part_->TakeTokens());
  ready_.tokens.insert(ready_.tokens.end(), tokens.begin(), tokens.end());
  if (!tokens.empty()) last_ = tokens.back();
  part_.reset();
  uncut_bytes_ = 0;
  items_.front().text.erase(0, part_bytes_);
  if (items_.front().text.empty()) items_.pop_front();
}

absl::StatusOr<bool> TypedText::Step(bool turn_ends) {
  if (part_.has_value()) {
    RETURN_IF_ERROR(part_->Step("text"));
  } else if (items_.empty()) {
    return true;
  } else if (std::vector<TokenId>& ids = items_.front().ids; !ids.empty()) {
    ready_.tokens.insert(ready_.tokens.end(), ids.begin(), ids.end());
    turn_begun_ = true;
    last_ = kNoToken;
    items_.pop_front();
    return false;
  } else {
    const bool is_last = items_.size() == 1;
    const size_t bytes = is_last && !turn_ends ? CertainBytes() : items_.front().text.size();
    if (items_.front().text.size() - bytes > static_cast<size_t>(limits_.max_uncut_bytes)) {
      return UncutText("text", bytes, limits_);
    }
    if (bytes == 0) return true;
    RETURN_IF_ERROR(BeginPart(bytes));
  }
  if (part_->done()) EndPart();
  return false;
}

TypedTokens TypedText::Take(bool turn_ends) {
  // A turn without a text may still need the BOS, or end what a stop string has cut.
  if (!turn_begun_ && turn_ends) {
    ready_.head = TextHead(tokenizer_, bos_);
    if (!bos_.only_if_first) bos_ = {};
  }
  if (turn_ends) {
    turn_begun_ = false;
    last_ = kNoToken;
    turn_bytes_ = 0;
  }
  return std::exchange(ready_, TypedTokens{TextHead(tokenizer_), {}});
}

}  // namespace retnet
