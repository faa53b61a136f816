#include "engine/scheduling/prompt_lookup.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <vector>

namespace retnet {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

std::vector<TokenId> Guess(PromptLookup& lookup, const std::vector<TokenId>& history,
                           int32_t most = 100) {
  std::vector<TokenId> guess;
  lookup.Guess(history, most, &guess);
  return guess;
}

TEST(PromptLookup, GuessesWhatFollowedTheLastTimeTheseTokensStood) {
  PromptLookup lookup(4);
  EXPECT_THAT(Guess(lookup, {1, 2, 3, 4, 5, 6}), IsEmpty());
  EXPECT_THAT(Guess(lookup, {1, 2, 3, 4, 5, 6, 1, 2}), IsEmpty()) << "two tokens alone";
  EXPECT_THAT(Guess(lookup, {1, 2, 3, 4, 5, 6, 1, 2, 3}), ElementsAre(4, 5, 6, 1));
  EXPECT_THAT(Guess(lookup, {1, 2, 3, 4, 5, 6, 1, 2, 3}, 2), ElementsAre(4, 5));
  // The newest place counts, and nothing is guessed beyond the history.
  EXPECT_THAT(Guess(lookup, {1, 2, 3, 4, 5, 6, 1, 2, 3, 9, 1, 2, 3}), ElementsAre(9, 1, 2, 3));
}

TEST(PromptLookup, GuessesAsFarAsItHasBeenRight) {
  const std::vector<TokenId> history = {1, 2, 3, 4, 5, 6, 7, 8, 9, 1, 2, 3};
  PromptLookup lookup(6);
  EXPECT_EQ(Guess(lookup, history).size(), 6);
  lookup.Learn(6, 1);
  EXPECT_EQ(Guess(lookup, history).size(), 2);
  lookup.Learn(2, 2);
  EXPECT_EQ(Guess(lookup, history).size(), 4);
  lookup.Learn(4, 4);
  EXPECT_EQ(Guess(lookup, history).size(), 6) << "never more than at first";
  lookup.Learn(6, 0);
  EXPECT_EQ(Guess(lookup, history).size(), 1) << "never less than one";
}

TEST(PromptLookup, WithoutABoundItGuessesNothing) {
  PromptLookup lookup;
  EXPECT_THAT(Guess(lookup, {1, 2, 3, 1, 2, 3, 1, 2, 3}), IsEmpty());
}

}  // namespace
}  // namespace retnet
