#include "models/utf8.h"

#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/models/random_text.h"

namespace retnet {
namespace {

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
      ASSERT_TRUE(text.starts_with(result));
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

}  // namespace
}  // namespace retnet
