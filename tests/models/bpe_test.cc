// Byte pair encoding against its definition, and words against the places where they may be cut.
#include "models/tokenizers/bpe.h"

#include <gtest/gtest.h>

#include "models/tokenizers/characters.h"
#include "models/tokenizers/word_pattern.h"
#include "tests/models/random_text.h"

namespace retnet {
namespace {

// As the definition has it: the first of the pairs that were learnt first, again and again.
std::vector<TokenId> Merged(std::vector<TokenId> symbols, const std::vector<BpeMerge>& merges) {
  while (true) {
    size_t best = merges.size();
    size_t place = 0;
    for (size_t i = 0; i + 1 < symbols.size(); ++i) {
      for (size_t rank = 0; rank < best; ++rank) {
        if (merges[rank].left != symbols[i] || merges[rank].right != symbols[i + 1]) continue;
        best = rank;
        place = i;
      }
    }
    if (best == merges.size()) return symbols;
    symbols[place] = merges[best].result;
    symbols.erase(symbols.begin() + static_cast<ptrdiff_t>(place) + 1);
  }
}

// Few letters and random merges, so that merges compete; words of all lengths, with and without
// the heap.
TEST(Bpe, IsItsDefinition) {
  Random random(3);
  for (int round = 0; round < 60; ++round) {
    BpeVocabulary vocabulary;
    vocabulary.symbols_are_bytes = true;
    vocabulary.bytes.assign(256, kNoToken);
    for (const char* letter : {"a", "b", "c"}) {
      vocabulary.bytes[static_cast<unsigned char>(letter[0])] =
          static_cast<TokenId>(vocabulary.pieces.size());
      vocabulary.pieces.emplace_back(letter);
    }
    for (int i = 0; i < 40; ++i) {
      const auto count = static_cast<int>(vocabulary.pieces.size());
      const TokenId left = Below(count, &random);
      const TokenId right = Below(count, &random);
      const std::string text = vocabulary.pieces[left] + vocabulary.pieces[right];
      const auto known = std::find(vocabulary.pieces.begin(), vocabulary.pieces.end(), text);
      const bool again = std::any_of(
          vocabulary.merges.begin(), vocabulary.merges.end(),
          [&](const BpeMerge& merge) { return merge.left == left && merge.right == right; });
      if (again) continue;
      vocabulary.merges.push_back(
          {left, right, static_cast<TokenId>(known - vocabulary.pieces.begin())});
      if (known == vocabulary.pieces.end()) vocabulary.pieces.push_back(text);
    }
    const Bpe bpe(vocabulary);
    for (int length = 1; length < 120; ++length) {
      std::string word;
      std::vector<TokenId> symbols;
      for (int i = 0; i < length; ++i) {
        const int letter = Below(3, &random);
        word.push_back(static_cast<char>('a' + letter));
        symbols.push_back(letter);
      }
      std::vector<TokenId> tokens;
      bpe.Encode(word, &tokens);
      ASSERT_EQ(tokens, Merged(symbols, vocabulary.merges)) << word;
    }
  }
}

std::vector<std::string> Words(const WordPattern& pattern, std::string_view text) {
  std::vector<std::string> words;
  pattern.Divide(text, [&](std::string_view word) { words.emplace_back(word); });
  return words;
}

constexpr const char* kPatterns[] = {
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)",
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)",
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)",
};

TEST(WordPattern, DividesATextWhereItsPartsHaveTheSameWords) {
  const char* const kParts[] = {"a",  "é",      "漢", "1",  "22",     "½",    "'",
                                "'s", "'LL",    "'ſ", " ",  "  ",     "\n",   "\r\n",
                                "\t", "\u00a0", ".",  "!?", "\u0301", "🙂", "-"};
  Random random(4);
  for (const char* expression : kPatterns) {
    for (const auto digits :
         {WordPattern::kTogether, WordPattern::kApart, WordPattern::kIndividual}) {
      WordPattern pattern = *WordPattern::Find(expression);
      pattern.set_digits(digits);
      size_t cuts = 0;
      for (int round = 0; round < 2000; ++round) {
        std::string text;
        for (int i = Below(12, &random); i >= 0; --i) {
          text += kParts[Below(std::size(kParts), &random)];
        }
        const std::vector<std::string> whole = Words(pattern, text);
        for (size_t at = 1; at < text.size(); ++at) {
          if (Continues(text[at])) continue;
          const char32_t before = CharacterAt(text, BeginOfCharacterBefore(text, at));
          if (!pattern.Divides(before, CharacterAt(text, at))) continue;
          ++cuts;
          std::vector<std::string> parts = Words(pattern, text.substr(0, at));
          for (const std::string& word : Words(pattern, text.substr(at))) parts.push_back(word);
          ASSERT_EQ(parts, whole) << expression << ": " << text << ", " << at;
        }
      }
      EXPECT_GT(cuts, 1000);
    }
  }
}

TEST(WordPattern, OtherExpressionsAreNotKnown) {
  EXPECT_FALSE(WordPattern::Find(R"(\s+)").has_value());
  EXPECT_FALSE(WordPattern::Find("").has_value());
}

}  // namespace
}  // namespace retnet
