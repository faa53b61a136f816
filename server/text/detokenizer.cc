#include "server/text/detokenizer.h"

#include <utility>

namespace retnet {

Detokenizer::Detokenizer(const Tokenizer* tokenizer, TextStops stops,
                         std::shared_ptr<const std::string> begun)
    : tokenizer_(tokenizer),
      stops_(std::move(stops.strings)),
      include_(stops.include),
      min_tokens_(stops.min_tokens),
      begun_(std::move(begun)) {}

std::string Detokenizer::Push(TokenId token) {
  ++tokens_;
  if (tokenizer_ == nullptr || stopped()) return "";
  std::string fresh;
  if (begun_ != nullptr) characters_.Push(*std::exchange(begun_, nullptr), &fresh);
  const int64_t begin = text_bytes_ + static_cast<int64_t>(characters_.pending());
  characters_.Push(tokenizer_->Bytes(token), &fresh);
  if (stops_.empty()) return fresh;
  newest_.push_back({.token = token, .begin = begin});
  for (const char byte : fresh) {
    held_.push_back(byte);
    ++text_bytes_;
    const std::string* found = stops_.Push(byte);
    if (found == nullptr || tokens_ < min_tokens_) continue;
    Stop(*found);
    return std::exchange(held_, "");
  }
  std::string certain = held_.substr(0, held_.size() - stops_.pending());
  held_.erase(0, certain.size());
  const int64_t held_from = text_bytes_ - static_cast<int64_t>(held_.size());
  while (newest_.size() > 1 && newest_[1].begin <= held_from) newest_.pop_front();
  // A stop string is UTF-8 too, so it can begin only where a character begins. The text returned
  // therefore ends at the end of a character.
  return certain;
}

// Of tokens that begin at one place, all but the last are empty.
void Detokenizer::Stop(const std::string& found) {
  stop_string_ = found;
  decision_.stops = true;
  if (include_) return;
  held_.resize(held_.size() - found.size());
  const int64_t end = text_bytes_ - static_cast<int64_t>(found.size());  // of the text
  while (!newest_.empty()) {
    const auto [token, begin] = newest_.back();
    newest_.pop_back();
    const int64_t visible = end - begin;
    if (visible >= static_cast<int64_t>(tokenizer_->Bytes(token).size()) && visible > 0) return;
    ++decision_.dropped_tokens;
    if (visible <= 0) continue;
    decision_.cut = {.token = token, .bytes = static_cast<int32_t>(visible)};
    return;
  }
}

std::string Detokenizer::Flush(bool goes_on) {
  if (stopped()) return "";
  std::string rest = std::exchange(held_, "");
  if (!goes_on) characters_.Flush(&rest);
  return rest;
}

}  // namespace retnet
