#include "models/tokenizers/bpe_cuts.h"

#include <algorithm>

#include "models/tokenizers/characters.h"

namespace retnet {
namespace {

// Normal form C makes at most so many bytes into one: three of U+212A, the sign of the kelvin,
// into a K.
constexpr size_t kNfcShrinks = 4;

bool IsSpace(char32_t c) { return ClassOf(c) == CharacterClass::kSpace; }

// Whether bytes or unknown symbols are never part of a merge, so that merges are of text alone.
bool MergesText(const BpeVocabulary& vocabulary) {
  absl::flat_hash_set<TokenId> no_text = {vocabulary.unknown};
  if (vocabulary.byte_fallback) no_text.insert(vocabulary.bytes.begin(), vocabulary.bytes.end());
  return std::none_of(vocabulary.merges.begin(), vocabulary.merges.end(),
                      [&](const BpeMerge& merge) {
                        return no_text.contains(merge.left) || no_text.contains(merge.right);
                      });
}

}  // namespace

BpeCuts::BpeCuts(const TokenizerJson& parsed, const std::vector<AddedToken>& added,
                 const std::vector<std::string>& texts)
    : pipeline_(parsed.pipeline), unknown_(parsed.vocabulary.unknown) {
  for (size_t i = 0; i < texts.size(); ++i) AddToken(added[i], texts[i]);
  if (!pipeline_.byte_level) AddPieces(parsed);
  BoundTokens(parsed, added);
}

void BpeCuts::AddToken(const AddedToken& token, const std::string& text) {
  const std::vector<char32_t> characters = Characters(text);
  for (size_t i = 1; i < characters.size(); ++i) {
    added_.insert(PairOf(characters[i - 1], characters[i]));
    added_.insert(PairOf(characters[i - 1], DecomposedFirst(characters[i])));
  }
  strips_ = strips_ || token.lstrip || token.rstrip;
  if (token.single_word) {
    ends_word_.insert(characters.back());
    begins_word_.insert(DecomposedFirst(characters.front()));
  }
  const bool prefixes =
      pipeline_.prefix == TextPipeline::kAlways || pipeline_.prefix == TextPipeline::kUnlessSpace;
  if (prefixes || token.rstrip || token.id == unknown_) ends_part_.insert(characters.back());
  if (token.id == unknown_) begins_unknown_.insert(characters.front());
}

// Left-out characters let what is beside them meet, and bytes may overtake unknown characters: such
// vocabularies are not cut.
void BpeCuts::AddPieces(const TokenizerJson& parsed) {
  const BpeVocabulary& vocabulary = parsed.vocabulary;
  const bool keeps_order =
      vocabulary.byte_fallback ? vocabulary.HasAllBytes() : vocabulary.unknown != kNoToken;
  cuts_pieces_ = keeps_order && !vocabulary.ignores_merges && MergesText(vocabulary);
  cuts_at_spaces_alone_ = pipeline_.divides_at_marks && !vocabulary.HasAllBytes();
  for (const BpeMerge& merge : vocabulary.merges) {
    const std::vector<char32_t> characters = Characters(vocabulary.pieces[merge.result]);
    for (size_t i = 1; i < characters.size(); ++i) {
      pieces_.insert(PairOf(characters[i - 1], characters[i]));
    }
  }
}

void BpeCuts::BoundTokens(const TokenizerJson& parsed, const std::vector<AddedToken>& added) {
  if (!parsed.vocabulary.HasAllBytes() || strips_) return;
  for (const std::string& piece : parsed.pieces) {
    max_token_bytes_ = std::max(max_token_bytes_, piece.size());
  }
  for (const AddedToken& token : added) {
    max_token_bytes_ = std::max(max_token_bytes_, token.content.size());
  }
  if (pipeline_.nfc) max_token_bytes_ *= kNfcShrinks;
}

bool BpeCuts::MeetsAdded(char32_t before, char32_t after) const {
  const char32_t first = pipeline_.nfc ? DecomposedFirst(after) : after;
  for (const char32_t last : {before, Mark(before)}) {
    for (const char32_t next : {after, first, Mark(after)}) {
      if (added_.contains(PairOf(last, next))) return true;
    }
  }
  if (strips_ && IsSpace(before)) return true;
  if (ends_part_.contains(before) || ends_part_.contains(Mark(before))) return true;
  if (begins_unknown_.contains(after) || begins_unknown_.contains(Mark(after))) return true;
  return (ends_word_.contains(before) && IsWordCharacter(after)) ||
         (begins_word_.contains(first) && IsWordCharacter(before));
}

bool BpeCuts::Safe(char32_t before, char32_t after) const {
  if (pipeline_.byte_level) {
    if (!pipeline_.pattern.Divides(before, after)) return false;
    if (pipeline_.nfc && !(BeginsNfc(before) && BeginsNfc(after))) return false;
  } else {
    if (!DividesPieces(Mark(before), Mark(after))) return false;
    if (cuts_at_spaces_alone_ && Mark(after) != kSpaceMark) return false;
  }
  return !MeetsAdded(before, after);
}

size_t BpeCuts::First(std::string_view text, size_t from, size_t end) const {
  return FirstSafeCut(text, from, end, [&](char32_t a, char32_t b) { return Safe(a, b); });
}

size_t BpeCuts::Last(std::string_view text) const {
  return LastSafeCut(text, [&](char32_t a, char32_t b) { return Safe(a, b); });
}

}  // namespace retnet
