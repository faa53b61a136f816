#include "server/text/detokenizer.h"

#include <algorithm>
#include <memory>
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

// The tokens that are kept and what is left of the one that was cut are the text, to the byte.
TEST(Detokenizer, TellsWhichTokensAStopStringReachesInto) {
  Random random(4);
  int cut = 0;
  int dropped = 0;
  for (int trial = 0; trial < 3000; ++trial) {
    const std::string text = RandomText(4 + Below(24, &random), &random);
    TextStops stops;
    stops.strings.push_back(RandomText(1 + Below(4, &random), &random));
    stops.include = Below(8, &random) == 0;
    std::vector<std::string> pieces = RandomCut(text, &random);
    const FakeTokenizer tokenizer(pieces);
    Detokenizer detokenizer(&tokenizer, stops);
    std::string result;
    size_t tokens = 0;
    while (tokens < pieces.size() && !detokenizer.stopped()) {
      result += detokenizer.Push(static_cast<TokenId>(tokens++));
    }
    const StopDecision decision = detokenizer.decision();
    ASSERT_EQ(decision.stops, detokenizer.stopped());
    if (!decision.stops || stops.include) {
      ASSERT_EQ(decision.dropped_tokens, 0);
      continue;
    }
    ASSERT_LE(decision.dropped_tokens, tokens);
    std::string kept;
    tokens -= static_cast<size_t>(decision.dropped_tokens);
    for (size_t i = 0; i < tokens; ++i) kept += pieces[i];
    if (decision.cut.token != kNoToken) {
      ASSERT_EQ(decision.cut.token, tokens);
      ASSERT_GT(decision.cut.bytes, 0);
      ASSERT_LT(decision.cut.bytes, pieces[tokens].size());
      kept += pieces[tokens].substr(0, static_cast<size_t>(decision.cut.bytes));
      ++cut;
    }
    ASSERT_EQ(kept, result);
    dropped += decision.dropped_tokens;
  }
  EXPECT_GT(cut, 200);
  EXPECT_GT(dropped, 500);
}

TEST(Detokenizer, LeavesTheBeginningOfACharacterToTheNextText) {
  const FakeTokenizer tokenizer({"a\xF0\x9F", "\x91", "\xA9!"});
  const auto begun = std::make_shared<std::string>();
  Detokenizer first(&tokenizer, {}, begun);
  EXPECT_EQ(first.Push(0), "a");
  EXPECT_EQ(first.Flush(/*goes_on=*/true), "");
  Detokenizer second(&tokenizer, {{"\xF0\x9F\x91\xA9"}}, begun);
  *begun = "\xF0\x9F";
  EXPECT_EQ(second.Push(1), "");
  EXPECT_EQ(second.Push(2), "");
  EXPECT_TRUE(second.stopped());
  Detokenizer alone(&tokenizer, {});
  alone.Push(0);
  EXPECT_EQ(alone.Flush(), "\xEF\xBF\xBD");
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
