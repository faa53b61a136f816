#include "models/tokenizers/added_tokens.h"

#include <algorithm>
#include <utility>

#include "models/tokenizers/characters.h"

namespace retnet {
namespace {

bool IsSpaceAt(std::string_view text, size_t at) {
  return ClassOf(CharacterAt(text, at)) == CharacterClass::kSpace;
}

size_t BeginOfSpacesBefore(std::string_view text, size_t at, size_t least) {
  while (at > least) {
    const size_t earlier = BeginOfCharacterBefore(text, at);
    if (!IsSpaceAt(text, earlier)) break;
    at = earlier;
  }
  return at;
}

size_t EndOfSpacesBehind(std::string_view text, size_t at) {
  while (at < text.size() && IsSpaceAt(text, at)) at += CharacterBytes(text[at]);
  return at;
}

}  // namespace

AddedTokens::AddedTokens(std::vector<AddedToken> tokens, const std::vector<std::string>& texts)
    : tokens_(std::move(tokens)) {
  for (size_t i = 0; i < texts.size(); ++i) {
    uint32_t node = 0;
    for (const char c : texts[i]) {
      const auto [child, is_new] = next_.try_emplace(
          uint64_t{node} << 8 | static_cast<unsigned char>(c), static_cast<uint32_t>(ends_.size()));
      if (is_new) ends_.push_back(-1);
      node = child->second;
    }
    // Of equal texts, the first counts.
    if (ends_[node] < 0) ends_[node] = static_cast<int32_t>(i);
    begins_[static_cast<unsigned char>(texts[i][0])] = true;
  }
}

int32_t AddedTokens::Longest(std::string_view text, size_t* bytes) const {
  int32_t longest = -1;
  uint32_t node = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    const auto child = next_.find(uint64_t{node} << 8 | static_cast<unsigned char>(text[i]));
    if (child == next_.end()) break;
    node = child->second;
    if (ends_[node] < 0) continue;
    longest = ends_[node];
    *bytes = i + 1;
  }
  return longest;
}

bool AddedTokens::IsSingleWord(std::string_view text, size_t begin, size_t end) const {
  const auto is_word = [&](size_t at) { return IsWordCharacter(CharacterAt(text, at)); };
  if (begin > 0 && is_word(BeginOfCharacterBefore(text, begin))) return false;
  return end == text.size() || !is_word(end);
}

std::vector<AddedSpan> AddedTokens::Divide(std::string_view text, bool parse_special) const {
  std::vector<AddedSpan> spans;
  size_t taken = 0;
  for (size_t at = 0; !empty() && at < text.size();) {
    size_t bytes = 0;
    const int32_t found =
        begins_[static_cast<unsigned char>(text[at])] ? Longest(text.substr(at), &bytes) : -1;
    if (found < 0) {
      ++at;
      continue;
    }
    // What is found and not taken is not looked into, as in Hugging Face's library.
    const AddedToken& token = tokens_[found];
    size_t begin = at;
    size_t end = at + bytes;
    at = end;
    if (token.special && !parse_special) continue;
    if (token.single_word && !IsSingleWord(text, begin, end)) continue;
    if (token.lstrip) begin = BeginOfSpacesBefore(text, begin, std::min(begin, taken));
    if (token.rstrip) end = EndOfSpacesBehind(text, end);
    if (taken < begin) spans.push_back({.begin = taken, .end = begin});
    spans.push_back({.begin = begin, .end = end, .token = &token});
    taken = std::max(taken, end);
  }
  if (taken < text.size()) spans.push_back({.begin = taken, .end = text.size()});
  return spans;
}

}  // namespace retnet
