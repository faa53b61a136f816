#include "server/detokenizer.h"

#include <algorithm>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "models/utf8.h"
#include "tests/server/fake_tokenizer.h"

namespace retnet {
namespace {

using Random = std::mt19937;

int Below(int bound, Random* random) {
  return std::uniform_int_distribution(0, bound - 1)(*random);
}

void AppendCharacter(char32_t c, std::string* text) {
  if (c < 0x80) {
    *text += static_cast<char>(c);
  } else if (c < 0x800) {
    *text += static_cast<char>(0xC0 | c >> 6);
    *text += static_cast<char>(0x80 | (c & 0x3F));
  } else if (c < 0x10000) {
    *text += static_cast<char>(0xE0 | c >> 12);
    *text += static_cast<char>(0x80 | (c >> 6 & 0x3F));
    *text += static_cast<char>(0x80 | (c & 0x3F));
  } else {
    *text += static_cast<char>(0xF0 | c >> 18);
    *text += static_cast<char>(0x80 | (c >> 12 & 0x3F));
    *text += static_cast<char>(0x80 | (c >> 6 & 0x3F));
    *text += static_cast<char>(0x80 | (c & 0x3F));
  }
}

// Of few distinct characters, so that stop strings occur, and of all lengths of UTF-8.
std::string RandomText(int length, Random* random) {
  constexpr char32_t kCharacters[] = {U'a',   U'b',   U'\n',   0x7F,    0x80,
                                      0xE9,   0x7FF,  0x800,   0xD7FF,  0xE000,
                                      0xFFFD, 0xFFFF, 0x10000, 0x1F642, 0x10FFFF};
  std::string text;
  for (int i = 0; i < length; ++i) {
    AppendCharacter(kCharacters[Below(std::size(kCharacters), random)], &text);
  }
  return text;
}

std::string RandomBytes(int length, Random* random) {
  // Mostly bytes on which UTF-8's rules turn.
  constexpr unsigned char kBytes[] = {'a',  0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC0, 0xC1,
                                      0xC2, 0xDF, 0xE0, 0xE1, 0xED, 0xEF, 0xF0, 0xF1, 0xF4, 0xF5};
  std::string bytes;
  for (int i = 0; i < length; ++i) {
    bytes += static_cast<char>(kBytes[Below(std::size(kBytes), random)]);
  }
  return bytes;
}

// Pieces of 0 to 6 bytes, characters torn.
std::vector<std::string> RandomCut(std::string_view text, Random* random) {
  std::vector<std::string> pieces;
  while (!text.empty()) {
    const size_t size = std::min<size_t>(Below(7, random), text.size());
    pieces.emplace_back(text.substr(0, size));
    text.remove_prefix(size);
  }
  return pieces;
}

bool IsPrefix(std::string_view prefix, std::string_view text) {
  return text.substr(0, prefix.size()) == prefix;
}

// The text before (or with) the stop string that ends first, the longest where several end there.
std::string NaiveStop(const std::string& text, const std::vector<std::string>& stops, bool include,
                      std::string* found) {
  for (size_t end = 1; end <= text.size(); ++end) {
    const std::string_view head = std::string_view(text).substr(0, end);
    for (const std::string& stop : stops) {
      if (head.size() >= stop.size() && head.substr(head.size() - stop.size()) == stop &&
          stop.size() > found->size()) {
        *found = stop;
      }
    }
    if (!found->empty()) return text.substr(0, end - (include ? 0 : found->size()));
  }
  return text;
}

TEST(Utf8Assembler, KeepsTextWhateverTheCuts) {
  Random random(1);
  for (int trial = 0; trial < 500; ++trial) {
    const std::string text = RandomText(Below(20, &random), &random);
    Utf8Assembler assembler;
    std::string result;
    size_t pushed = 0;
    for (const std::string& piece : RandomCut(text, &random)) {
      assembler.Push(piece, &result);
      pushed += piece.size();
      ASSERT_EQ(FirstInvalidUtf8(result), std::nullopt);
      ASSERT_TRUE(IsPrefix(result, text));
      ASSERT_LE(pushed - result.size(), 3);  // a character less its last byte
    }
    assembler.Flush(&result);
    ASSERT_EQ(result, text);
  }
}

TEST(Utf8Assembler, GivesOneReplacementForEachMaximalPart) {
  // The example of the Unicode standard, table 3-8, and one of an unfinished end.
  Utf8Assembler assembler;
  std::string result;
  assembler.Push(
      "a\xF1\x80\x80\xE1\x80\xC2"
      "b\x80"
      "c\x80\xBF"
      "d\xF0\x9F",
      &result);
  assembler.Flush(&result);
  const std::string r = "\xEF\xBF\xBD";
  EXPECT_EQ(result, "a" + r + r + r + "b" + r + "c" + r + r + "d" + r);
}

TEST(Utf8Assembler, GivesTheSameForAnyBytesWhateverTheCuts) {
  Random random(2);
  for (int trial = 0; trial < 2000; ++trial) {
    const std::string bytes = RandomBytes(Below(12, &random), &random);
    Utf8Assembler whole;
    std::string expected;
    whole.Push(bytes, &expected);
    whole.Flush(&expected);
    ASSERT_EQ(FirstInvalidUtf8(expected), std::nullopt);
    // What was UTF-8 stays, what was not is replaced.
    ASSERT_EQ(expected == bytes, !FirstInvalidUtf8(bytes).has_value());
    Utf8Assembler assembler;
    std::string result;
    for (const std::string& piece : RandomCut(bytes, &random)) assembler.Push(piece, &result);
    assembler.Flush(&result);
    ASSERT_EQ(result, expected);
  }
}

TEST(FirstInvalidUtf8, NamesTheByte) {
  EXPECT_EQ(FirstInvalidUtf8(""), std::nullopt);
  EXPECT_EQ(FirstInvalidUtf8("ab\xF0\x9F\x99\x82"), std::nullopt);
  EXPECT_EQ(FirstInvalidUtf8("ab\xF0\x9F\x99"), 2);
  EXPECT_EQ(FirstInvalidUtf8("\xC0\x80"), 0);          // overlong
  EXPECT_EQ(FirstInvalidUtf8("a\xED\xA0\x80"), 1);     // a surrogate
  EXPECT_EQ(FirstInvalidUtf8("\xF4\x90\x80\x80"), 0);  // above U+10FFFF
}

TEST(Detokenizer, StopsAtTheFirstStopStringWhateverTheCuts) {
  Random random(3);
  int stopped = 0;
  for (int trial = 0; trial < 3000; ++trial) {
    const std::string text = RandomText(Below(24, &random), &random);
    TextStops stops;
    for (int i = Below(4, &random); i >= 0; --i) {
      stops.strings.push_back(RandomText(1 + Below(3, &random), &random));
    }
    stops.include = Below(2, &random) == 1;
    std::string found;
    const std::string expected = NaiveStop(text, stops.strings, stops.include, &found);

    const std::vector<std::string> pieces = RandomCut(text, &random);
    const FakeTokenizer tokenizer(pieces);
    Detokenizer detokenizer(&tokenizer, stops);
    std::string result;
    for (size_t i = 0; i < pieces.size() && !detokenizer.stopped(); ++i) {
      result += detokenizer.Push(static_cast<TokenId>(i));
      ASSERT_EQ(FirstInvalidUtf8(result), std::nullopt);
      ASSERT_TRUE(IsPrefix(result, expected));  // nothing is ever taken back
    }
    result += detokenizer.Flush();
    ASSERT_EQ(result, expected);
    ASSERT_EQ(detokenizer.stop_string(), found);
    stopped += detokenizer.stopped();
  }
  EXPECT_GT(stopped, 500);
  EXPECT_LT(stopped, 2500);
}

TEST(Detokenizer, HoldsBackOnlyWhatMayBeginAStopString) {
  const FakeTokenizer tokenizer({"one ", "tw", "o th", "ree", "!"});
  Detokenizer detokenizer(&tokenizer, {{"two three?"}});
  EXPECT_EQ(detokenizer.Push(0), "one ");
  EXPECT_EQ(detokenizer.Push(1), "");
  EXPECT_EQ(detokenizer.Push(2), "");
  EXPECT_EQ(detokenizer.Push(3), "");
  EXPECT_EQ(detokenizer.Push(4), "two three!");
}

TEST(Detokenizer, IgnoresStopStringsOfEarlierTokensThanTheMinimum) {
  const FakeTokenizer tokenizer({"a", "b"});
  Detokenizer detokenizer(&tokenizer, {{"a"}, /*include=*/false, /*min_tokens=*/3});
  EXPECT_EQ(detokenizer.Push(0), "a");
  EXPECT_EQ(detokenizer.Push(0), "a");
  EXPECT_FALSE(detokenizer.stopped());
  EXPECT_EQ(detokenizer.Push(0), "");
  EXPECT_TRUE(detokenizer.stopped());
}

TEST(Detokenizer, GivesNoTextWithoutATokenizer) {
  Detokenizer detokenizer(nullptr, {});
  EXPECT_EQ(detokenizer.Push(7), "");
  EXPECT_EQ(detokenizer.tokens(), 1);
  EXPECT_EQ(detokenizer.Flush(), "");
}

TEST(Detokenizer, EndsAnUnfinishedCharacterWithAReplacement) {
  const FakeTokenizer tokenizer({"a\xF0\x9F"});
  Detokenizer detokenizer(&tokenizer, {});
  EXPECT_EQ(detokenizer.Push(0), "a");
  EXPECT_EQ(detokenizer.Flush(), "\xEF\xBF\xBD");
}

}  // namespace
}  // namespace retnet
