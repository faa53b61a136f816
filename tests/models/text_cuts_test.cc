// A text that is cut gives the tokens of the whole text.
#include "models/tokenizers/text_cuts.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <tuple>
#include <vector>

#include "models/tokenizer.h"
#include "models/tokenizers/sentencepiece_model.h"
#include "tests/models/random_text.h"

namespace retnet {
namespace {

// With special tokens parsed or not.
struct Loaded {
  std::unique_ptr<Tokenizer> owner;
  const Tokenizer* tokenizer;
  const Tokenizer* operator->() const { return tokenizer; }
  const Tokenizer& operator*() const { return *tokenizer; }
};

std::unique_ptr<Tokenizer> Load(const std::string& directory) {
  auto tokenizer = Tokenizer::Load(std::string(RETNET_SOURCE_DIR) + "/" + directory);
  EXPECT_TRUE(tokenizer.ok()) << tokenizer.status();
  return *std::move(tokenizer);
}

// What rules and pieces of the vocabularies begin, end or contain, words, spaces of all kinds,
// characters that no vocabulary has, and control characters.
std::string RandomWords(int parts, Random* random) {
  static const std::vector<std::string> kParts = {"Once",
                                                  " upon",
                                                  " a",
                                                  " time",
                                                  "there",
                                                  "king",
                                                  "e",
                                                  "\u0301",
                                                  "\u0308",
                                                  "é",
                                                  "a",
                                                  "b",
                                                  "ab",
                                                  "c",
                                                  "(c",
                                                  "(",
                                                  "<eot>",
                                                  "<",
                                                  "eot>",
                                                  "...",
                                                  ".",
                                                  "…",
                                                  "km",
                                                  "k",
                                                  "m",
                                                  "ﬁ",
                                                  "ﬁx",
                                                  "x",
                                                  " x",
                                                  "１",
                                                  "12",
                                                  "Ａ",
                                                  "ｆ",
                                                  "\u00a0",
                                                  "\u3000",
                                                  "\u200b",
                                                  "\u2581",
                                                  " ",
                                                  "  ",
                                                  "\t",
                                                  "\n",
                                                  "\n\n",
                                                  "漢",
                                                  "字",
                                                  "ガ",
                                                  "カ\u3099",
                                                  "\u1112\u1161\u11ab",
                                                  "🙂",
                                                  "👩‍👩‍👧",
                                                  "\ue000",
                                                  "\x7f",
                                                  "\x01",
                                                  ", ",
                                                  "“",
                                                  "'s",
                                                  "int ",
                                                  "for (",
                                                  "</s>",
                                                  "<s>",
                                                  "<|endoftext|>",
                                                  "<|eot_id|>",
                                                  "<tool>",
                                                  "<end>",
                                                  "tale",
                                                  "king",
                                                  "[INST]",
                                                  "Pâté",
                                                  "Pa\u0302te\u0301",
                                                  "end.",
                                                  "'",
                                                  "=",
                                                  "\u0338",
                                                  "<unk>",
                                                  "1."};
  std::string text;
  for (int i = 0; i < parts; ++i) {
    if (Below(12, random) == 0) {
      text += RandomText(2, random);
    } else if (Below(12, random) == 0) {
      AppendCharacter(static_cast<char32_t>(0x20 + Below(0x3000, random)), &text);
    } else {
      text += kParts[Below(kParts.size(), random)];
    }
  }
  return text;
}

std::vector<size_t> Cuts(const Tokenizer& tokenizer, const std::string& text) {
  std::vector<size_t> cuts;
  size_t at = 0;
  while ((at = tokenizer.FirstCut(text, at + 1, text.size())) != std::string::npos) {
    cuts.push_back(at);
  }
  return cuts;
}

// What the pieces see of a rule is its value: here "b" alone meets no piece that "z" goes on from,
// but "ab" becomes "y", and "yz" is a piece.
TEST(TextCuts, AreNotBehindARuleWhoseValueGoesOn) {
  SentencePieceModel model;
  model.algorithm = SentencePieceModel::kBpe;
  model.byte_fallback = true;
  model.removes_extra_spaces = false;
  for (const char* piece : {"a", "b", "y", "z", "yz"}) model.pieces.push_back({piece});
  const TextCuts without_rule(model);
  EXPECT_EQ(without_rule.First("abz", 2, 3), 2);
  model.rules = {{.key = "ab", .value = "y"}};
  const TextCuts cuts(model);
  EXPECT_EQ(cuts.First("abz", 1, 3), std::string::npos);
  EXPECT_EQ(cuts.Last("abz"), std::string::npos);
  EXPECT_EQ(cuts.First("aza", 1, 3), 1);
}

struct Vocabulary {
  std::string directory;
  bool cuts = true;
};

class TextCutsOf : public ::testing::TestWithParam<std::tuple<Vocabulary, bool>> {
 protected:
  const Vocabulary& vocabulary() const { return std::get<0>(GetParam()); }
  Loaded LoadVocabulary() const {
    auto owner = Load(vocabulary().directory);
    const Tokenizer* const plain = owner.get();
    return {std::move(owner), std::get<1>(GetParam()) ? &plain->ParsingSpecialTokens() : plain};
  }
};

TEST_P(TextCutsOf, GiveTheTokensOfTheWholeText) {
  const auto tokenizer = LoadVocabulary();
  Random random(7);
  size_t count = 0;
  size_t characters = 0;
  for (int round = 0; round < 3000; ++round) {
    const std::string text = RandomWords(1 + Below(30, &random), &random);
    const std::vector<TokenId> whole = *tokenizer->Encode(text);
    const std::vector<size_t> cuts = Cuts(*tokenizer, text);
    count += cuts.size();
    characters += text.size();
    EXPECT_EQ(tokenizer->LastCut(text), cuts.empty() ? std::string::npos : cuts.back());
    std::vector<TokenId> joined;
    size_t from = 0;
    for (const size_t cut : cuts) {
      if (Below(3, &random) == 0) continue;
      const std::string part = text.substr(from, cut - from);
      tokenizer->Join(*(from == 0 ? tokenizer->Encode(part) : tokenizer->EncodeNext(part)),
                      &joined);
      from = cut;
    }
    const std::string rest = text.substr(from);
    tokenizer->Join(*(from == 0 ? tokenizer->Encode(rest) : tokenizer->EncodeNext(rest)), &joined);
    ASSERT_EQ(joined, whole) << "text: \"" << text << "\"";
  }
  if (vocabulary().cuts) {
    EXPECT_GT(count, characters / 20);
  } else {
    EXPECT_EQ(count, 0);
  }
}

// What is typed later moves no cut.
TEST_P(TextCutsOf, StayWhateverIsAdded) {
  const auto tokenizer = LoadVocabulary();
  Random random(8);
  for (int round = 0; round < 500; ++round) {
    const std::string text = RandomWords(1 + Below(10, &random), &random);
    const std::string longer = text + RandomWords(1 + Below(5, &random), &random);
    for (const size_t cut : Cuts(*tokenizer, text)) {
      ASSERT_EQ(tokenizer->FirstCut(longer, cut, cut + 1), cut) << longer;
    }
  }
}

TEST_P(TextCutsOf, NoTokenStandsForMoreBytesThanTheBound) {
  const auto tokenizer = LoadVocabulary();
  if (tokenizer->max_token_bytes() == 0) return;
  Random random(9);
  for (int round = 0; round < 2000; ++round) {
    const std::string text = RandomWords(1 + Below(6, &random), &random);
    const size_t tokens = tokenizer->Encode(text)->size();
    ASSERT_LE(text.size(), tokens * tokenizer->max_token_bytes()) << text;
  }
}

INSTANTIATE_TEST_SUITE_P(
    Vocabularies, TextCutsOf,
    ::testing::Combine(
        ::testing::Values(Vocabulary{"models/demo"}, Vocabulary{"tests/testdata/tokenizers/plain"},
                          Vocabulary{"tests/testdata/tokenizers/prefixed"},
                          Vocabulary{"tests/testdata/tokenizers/llama"},
                          Vocabulary{"tests/testdata/tokenizers/rules"},
                          Vocabulary{"tests/testdata/tokenizers/unigram"},
                          Vocabulary{"tests/testdata/tokenizers/symbols"},
                          Vocabulary{"tests/testdata/tokenizers/nfkc"},
                          Vocabulary{"tests/testdata/tokenizers/gpt2"},
                          Vocabulary{"tests/testdata/tokenizers/neox"},
                          Vocabulary{"tests/testdata/tokenizers/llama3"},
                          Vocabulary{"tests/testdata/tokenizers/llama_json"},
                          Vocabulary{"tests/testdata/tokenizers/mistral"},
                          Vocabulary{"tests/testdata/tokenizers/suffix", /*cuts=*/false}),
        ::testing::Bool()),
    [](const auto& info) {
      const std::string& directory = std::get<0>(info.param).directory;
      return directory.substr(directory.rfind('/') + 1) +
             (std::get<1>(info.param) ? "_parsing_special" : "");
    });

}  // namespace
}  // namespace retnet
