#include "server/text/detokenizer.h"

#include <utility>

namespace retnet {

Detokenizer::Detokenizer(const Tokenizer* tokenizer, TextStops stops)
    : tokenizer_(tokenizer),
      stops_(std::move(stops.strings)),
      include_(stops.include),
      min_tokens_(stops.min_tokens) {}

std::string Detokenizer::Push(TokenId token) {
  ++tokens_;
  if (tokenizer_ == nullptr || stopped()) return "";
  std::string fresh;
  characters_.Push(tokenizer_->Bytes(token), &fresh);
  if (stops_.empty()) return fresh;
  for (const char byte : fresh) {
    held_.push_back(byte);
    const std::string* found = stops_.Push(byte);
    if (found == nullptr || tokens_ < min_tokens_) continue;
    stop_string_ = *found;
    if (!include_) held_.resize(held_.size() - found->size());
    return std::exchange(held_, "");
  }
  std::string certain = held_.substr(0, held_.size() - stops_.pending());
  held_.erase(0, certain.size());
  // A stop string is UTF-8 too, so it can begin only where a character begins. The text returned
  // therefore ends at the end of a character.
  return certain;
}

std::string Detokenizer::Flush() {
  if (stopped()) return "";
  std::string rest = std::exchange(held_, "");
  characters_.Flush(&rest);
  return rest;
}

}  // namespace retnet
