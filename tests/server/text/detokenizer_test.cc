#include "server/text/detokenizer.h"

#include <algorithm>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/models/random_text.h"
#include "tests/server/fake_tokenizer.h"

namespace retnet {
namespace {

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
      ASSERT_TRUE(expected.starts_with(result));  // nothing is ever taken back
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
