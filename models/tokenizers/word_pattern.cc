#include "models/tokenizers/word_pattern.h"

#include <algorithm>

#include "models/tokenizers/characters.h"

namespace retnet {
namespace {

using enum CharacterClass;

constexpr std::string_view kGpt2 =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";
constexpr std::string_view kLlama3 =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*)"
    R"(|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr std::string_view kQwen2 =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*)"
    R"(|\s*[\r\n]+|\s+(?!\S)|\s+)";

CharacterClass ClassAt(std::string_view text, size_t at) { return ClassOf(CharacterAt(text, at)); }

size_t Behind(std::string_view text, size_t at) { return at + CharacterBytes(text[at]); }

// The end of the characters of one class that begin at `at`, at most `most`; 0: any number.
size_t EndOfClass(std::string_view text, size_t at, CharacterClass kind, size_t most = 0) {
  for (size_t count = 0; at < text.size() && ClassAt(text, at) == kind; ++count) {
    if (most != 0 && count == most) break;
    at = Behind(text, at);
  }
  return at;
}

// The end of 's, 't, 're, 've, 'm, 'll or 'd; `at` if there is none.
size_t EndOfContraction(std::string_view text, size_t at, bool any_case) {
  if (text[at] != '\'') return at;
  const std::string_view rest = text.substr(at + 1);
  const auto lower = [&](char c) {
    return any_case && c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
  };
  for (const std::string_view ending : {"s", "t", "re", "ve", "m", "ll", "d"}) {
    const bool matches =
        rest.size() >= ending.size() && std::equal(ending.begin(), ending.end(), rest.begin(),
                                                   [&](char a, char b) { return a == lower(b); });
    if (matches) return at + 1 + ending.size();
  }
  // U+017F, a long s, is an s but for its case.
  return any_case && rest.substr(0, 2) == "\xc5\xbf" ? at + 3 : at;
}

// Spaces that begin at `at`: those before the last, which is left to the word behind them.
size_t EndOfSpaces(std::string_view text, size_t at, bool ends_lines) {
  const size_t end = EndOfClass(text, at, kSpace);
  if (ends_lines) {
    const size_t line_end = text.substr(at, end - at).find_last_of("\r\n");
    if (line_end != std::string_view::npos) return at + line_end + 1;
  }
  if (end == text.size()) return end;
  const size_t last = BeginOfCharacterBefore(text, end);
  return last > at ? last : end;
}

}  // namespace

std::optional<WordPattern> WordPattern::Find(std::string_view expression) {
  WordPattern pattern;
  if (expression == kGpt2) return pattern;
  pattern.llama3_ = true;
  pattern.most_digits_ = expression == kLlama3 ? 3 : 1;
  if (expression == kLlama3 || expression == kQwen2) return pattern;
  return std::nullopt;
}

size_t WordPattern::EndOfWord(std::string_view text, size_t at) const {
  if (const size_t end = EndOfContraction(text, at, llama3_); end > at) return end;
  const char32_t first = CharacterAt(text, at);
  const CharacterClass kind = ClassOf(first);
  const size_t second = Behind(text, at);
  const CharacterClass next = second < text.size() ? ClassAt(text, second) : kSpace;
  if (kind == kLetter) return EndOfClass(text, at, kLetter);
  if (kind == kNumber) return EndOfClass(text, at, kNumber, most_digits_);
  const bool takes_letters = llama3_ ? !IsLineEnd(first) : first == ' ';
  if (takes_letters && next == kLetter) return EndOfClass(text, second, kLetter);
  if (!llama3_ && first == ' ' && next == kNumber) return EndOfClass(text, second, kNumber);
  if (kind == kOther || (first == ' ' && next == kOther)) {
    size_t end = EndOfClass(text, second, kOther);
    while (llama3_ && end < text.size() && IsLineEnd(text[end])) ++end;
    return end;
  }
  return EndOfSpaces(text, at, llama3_);
}

size_t WordPattern::EndOfPart(std::string_view text, size_t at) const {
  if (digits_ == kTogether) return text.size();
  if (ClassAt(text, at) == kNumber) {
    return EndOfClass(text, at, kNumber, digits_ == kIndividual ? 1 : 0);
  }
  while (at < text.size() && ClassAt(text, at) != kNumber) at = Behind(text, at);
  return at;
}

bool WordPattern::Divides(char32_t before, char32_t after) const {
  const CharacterClass left = ClassOf(before);
  const CharacterClass right = ClassOf(after);
  if (left == kLetter || left == kNumber) return right != left;
  return left == kOther && right == kSpace && !(llama3_ && IsLineEnd(after));
}

}  // namespace retnet
