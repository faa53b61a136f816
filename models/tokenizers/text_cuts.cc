#include "models/tokenizers/text_cuts.h"

#include <algorithm>

#include "models/tokenizers/characters.h"
#include "models/utf8.h"

namespace retnet {
namespace {

// The longer rules that begin with a character are looked at wherever a text has it. Unicode's own
// normalization has fewer than a thousand of one character.
constexpr size_t kMostBegun = 4096;

}  // namespace

TextCuts::TextCuts(const SentencePieceModel& model)
    : marks_spaces_(model.marks_spaces), removes_extra_spaces_(model.removes_extra_spaces) {
  const auto is_text = [](std::string_view text) { return !FirstInvalidUtf8(text).has_value(); };
  bool known = model.algorithm == SentencePieceModel::kUnigram ||
               model.algorithm == SentencePieceModel::kBpe ||
               model.algorithm == SentencePieceModel::kCharacter;
  for (const auto& piece : model.pieces) known = known && is_text(piece.text);
  for (const auto& [key, value] : model.rules) known = known && is_text(key) && is_text(value);
  // Where a space belongs to the word before it, every part would get one.
  if (!known || model.space_is_suffix) return;
  AddPieces(model);
  if (!AddRules(model)) return;
  ChooseAnchor(model);
  BoundTokens(model);
  cuts_ = !anchor_.empty();
}

char32_t TextCuts::Mark(char32_t c) const { return c == ' ' && marks_spaces_ ? kSpaceMark : c; }

void TextCuts::AddPieces(const SentencePieceModel& model) {
  for (const auto& [text, type] : model.pieces) {
    if (type == SentencePieceModel::kByte) continue;
    const std::vector<char32_t> characters = Characters(text);
    for (size_t i = 1; i < characters.size(); ++i) {
      piece_pairs_.insert(PairOf(characters[i - 1], characters[i]));
    }
    if (type != SentencePieceModel::kUserDefined) continue;
    in_user_defined_.insert(characters.begin(), characters.end());
  }
}

bool TextCuts::AddRules(const SentencePieceModel& model) {
  for (const auto& [key, value] : model.rules) {
    const std::vector<char32_t> from = Characters(key);
    const std::vector<char32_t> to = Characters(value);
    if (from.empty()) continue;
    Ends ends{.empty = to.empty()};
    if (!to.empty()) ends = {.first = Mark(to.front()), .last = Mark(to.back())};
    if (from.size() == 1) {
      own_rule_[from[0]] = ends;
      continue;
    }
    std::vector<Ends>& begun = begins_rules_[from[0]];
    const auto is_known = [&](const Ends& other) {
      return other.first == ends.first && other.empty == ends.empty;
    };
    if (std::none_of(begun.begin(), begun.end(), is_known)) begun.push_back(ends);
    if (begun.size() > kMostBegun) return false;
    ends_rule_.insert(from.back());
    for (size_t i = 1; i < from.size(); ++i) rule_pairs_.insert(PairOf(from[i - 1], from[i]));
  }
  return true;
}

// With byte fallback, a character that the vocabulary does not have is its bytes, whatever stands
// beside it: one that Unicode leaves to private use will do. Without, unknown characters that
// follow each other are one token; there it takes a piece of one character that no piece goes on
// from.
void TextCuts::ChooseAnchor(const SentencePieceModel& model) {
  absl::flat_hash_set<char32_t> in_rules;
  for (const auto& rule : model.rules) {
    for (const char32_t c : Characters(rule.key)) in_rules.insert(c);
  }
  absl::flat_hash_set<char32_t> in_pieces;
  absl::flat_hash_set<char32_t> goes_on;
  for (const auto& piece : model.pieces) {
    const std::vector<char32_t> characters = Characters(piece.text);
    in_pieces.insert(characters.begin(), characters.end());
    for (size_t i = 0; i + 1 < characters.size(); ++i) goes_on.insert(characters[i]);
  }
  if (model.byte_fallback) {
    for (char32_t c = 0xE000; c < 0xF900 && anchor_.empty(); ++c) {
      if (in_pieces.contains(c) || in_rules.contains(c)) continue;
      anchor_ = {static_cast<char>(0xE0 | c >> 12), static_cast<char>(0x80 | (c >> 6 & 0x3F)),
                 static_cast<char>(0x80 | (c & 0x3F))};
    }
    return;
  }
  for (const auto& [text, type] : model.pieces) {
    const std::vector<char32_t> characters = Characters(text);
    if (type != SentencePieceModel::kNormal || characters.size() != 1) continue;
    const char32_t c = characters[0];
    const bool is_space = c == ' ' || c == kSpaceMark;
    if (is_space || goes_on.contains(c) || in_rules.contains(c) || in_user_defined_.contains(c)) {
      continue;
    }
    anchor_ = text;
    return;
  }
}

// A character takes at most four bytes, or what the keys of rules take for each character that they
// are replaced by. Without byte fallback a token may stand for any number of unknown characters.
void TextCuts::BoundTokens(const SentencePieceModel& model) {
  if (!model.byte_fallback || model.removes_extra_spaces) return;
  size_t character_bytes = model.rules.empty() ? 0 : 4;
  for (const auto& [key, value] : model.rules) {
    const size_t characters = Characters(value).size();
    if (characters == 0) return;
    character_bytes = std::max(character_bytes, (key.size() + characters - 1) / characters);
  }
  for (const auto& [text, type] : model.pieces) {
    if (type == SentencePieceModel::kControl || type == SentencePieceModel::kUnknown) continue;
    const size_t bytes = type == SentencePieceModel::kByte ? std::max<size_t>(1, character_bytes)
                         : character_bytes == 0            ? text.size()
                                                : character_bytes * Characters(text).size();
    max_token_bytes_ = std::max(max_token_bytes_, bytes);
  }
}

std::optional<char32_t> TextCuts::NormalizedEnd(char32_t c) const {
  if (ends_rule_.contains(c)) return std::nullopt;
  const auto rule = own_rule_.find(c);
  if (rule == own_rule_.end()) return Mark(c);
  // User-defined pieces are left as they are.
  if (rule->second.empty || in_user_defined_.contains(c)) return std::nullopt;
  return rule->second.last;
}

bool TextCuts::Safe(char32_t before, char32_t after) const {
  // User-defined pieces are looked for in the text as it comes.
  if (rule_pairs_.contains(PairOf(before, after)) || piece_pairs_.contains(PairOf(before, after))) {
    return false;
  }
  const std::optional<char32_t> end = NormalizedEnd(before);
  if (!end.has_value()) return false;
  // Spaces at the end of a part would be removed.
  if (removes_extra_spaces_ && (*end == kSpaceMark || *end == ' ')) return false;
  const auto meets = [&](const Ends& ends) {
    return ends.empty || piece_pairs_.contains(PairOf(*end, ends.first));
  };
  const auto own = own_rule_.find(after);
  if (own == own_rule_.end() || in_user_defined_.contains(after)) {
    if (meets({.first = Mark(after)})) return false;
  }
  if (own != own_rule_.end() && meets(own->second)) return false;
  const auto longer = begins_rules_.find(after);
  return longer == begins_rules_.end() ||
         std::none_of(longer->second.begin(), longer->second.end(), meets);
}

size_t TextCuts::First(std::string_view text, size_t from, size_t end) const {
  if (!cuts_) return std::string_view::npos;
  return FirstSafeCut(text, from, end, [&](char32_t a, char32_t b) { return Safe(a, b); });
}

size_t TextCuts::Last(std::string_view text) const {
  if (!cuts_) return std::string_view::npos;
  return LastSafeCut(text, [&](char32_t a, char32_t b) { return Safe(a, b); });
}

}  // namespace retnet
