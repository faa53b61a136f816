#include "models/utf8.h"

#include <algorithm>
#include <cstdint>

namespace retnet {
namespace {

constexpr std::string_view kReplacement = "\xEF\xBF\xBD";

// The length in bytes of a character that begins with `lead`; 0 if no character does.
size_t CharacterLength(uint8_t lead) {
  if (lead < 0x80) return 1;
  if (lead >= 0xC2 && lead <= 0xDF) return 2;
  if (lead >= 0xE0 && lead <= 0xEF) return 3;
  if (lead >= 0xF0 && lead <= 0xF4) return 4;
  return 0;
}

// Whether `next` may follow `partial`, the beginning of an incomplete character. The bounds of the
// second byte are tighter after some lead bytes. They exclude overlong forms, surrogates and values
// above U+10FFFF.
bool Continues(std::string_view partial, uint8_t next) {
  uint8_t low = 0x80;
  uint8_t high = 0xBF;
  if (partial.size() == 1) {
    switch (static_cast<uint8_t>(partial[0])) {
      case 0xE0:
        low = 0xA0;
        break;
      case 0xED:
        high = 0x9F;
        break;
      case 0xF0:
        low = 0x90;
        break;
      case 0xF4:
        high = 0x8F;
        break;
    }
  }
  return next >= low && next <= high;
}

}  // namespace

void Utf8Assembler::Push(std::string_view bytes, std::string* text) {
  for (const char byte : bytes) {
    const uint8_t value = static_cast<uint8_t>(byte);
    if (!partial_.empty() && !Continues(partial_, value)) Flush(text);
    if (partial_.empty() && CharacterLength(value) == 0) {
      text->append(kReplacement);
      continue;
    }
    partial_.push_back(byte);
    if (partial_.size() == CharacterLength(static_cast<uint8_t>(partial_[0]))) {
      text->append(partial_);
      partial_.clear();
    }
  }
}

void Utf8Assembler::Flush(std::string* text) {
  if (partial_.empty()) return;
  text->append(kReplacement);
  partial_.clear();
}

std::string_view IncompleteCharacter(std::string_view bytes) {
  for (size_t length = 1; length <= std::min<size_t>(3, bytes.size()); ++length) {
    const std::string_view end = bytes.substr(bytes.size() - length);
    if ((end[0] & 0xC0) == 0x80) continue;
    Utf8Assembler character;
    std::string text;
    character.Push(end, &text);
    return character.pending() == length ? end : std::string_view();
  }
  return {};
}

std::optional<size_t> FirstInvalidUtf8(std::string_view text) {
  size_t begin = 0;
  while (begin < text.size()) {
    const size_t length = CharacterLength(static_cast<uint8_t>(text[begin]));
    if (length == 0 || length > text.size() - begin) return begin;
    for (size_t i = 1; i < length; ++i) {
      if (!Continues(text.substr(begin, i), static_cast<uint8_t>(text[begin + i]))) return begin;
    }
    begin += length;
  }
  return std::nullopt;
}

}  // namespace retnet
