#include "engine/states/token_history.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <string>
#include <vector>

#include "engine/states/chunk_keys.h"

namespace retnet {
namespace {

TEST(TokenHistory, KeepsTheClassOfEveryTokenThroughAnyChanges) {
  std::mt19937 random(1);
  TokenHistory history;
  std::vector<RowClass> classes;
  for (int i = 0; i < 2000; ++i) {
    if (random() % 5 == 0) {
      const auto size = static_cast<int32_t>(random() % (classes.size() + 1));
      history.Truncate(size);
      classes.resize(size);
    } else {
      const RowClass row_class = random() % 2 == 0 ? RowClass::kPrompt : RowClass::kSampled;
      const std::vector<TokenId> tokens(random() % 4, 7);
      history.Append(tokens, row_class);
      classes.insert(classes.end(), tokens.size(), row_class);
    }
    ASSERT_EQ(history.size(), classes.size());
    ASSERT_TRUE(TokenHistory::Valid(history.tokens(), history.class_runs()));
    for (int32_t at = 0; at < history.size(); ++at) {
      ASSERT_EQ(history.ClassAt(at), classes[at]);
      int32_t end = at;
      while (end < history.size() && classes[end] == classes[at]) ++end;
      ASSERT_EQ(history.RunEnd(at), end);
    }
  }
}

TEST(TokenHistory, RunsThatDoNotAscendWithinTheTokensAreInvalid) {
  const std::vector<TokenId> tokens(5, 1);
  for (const std::vector<int32_t>& good : {std::vector<int32_t>{}, {0}, {0, 1, 4}}) {
    EXPECT_TRUE(TokenHistory::Valid(tokens, good));
  }
  for (const std::vector<int32_t>& bad : {std::vector<int32_t>{5}, {-1}, {2, 2}, {3, 1}}) {
    EXPECT_FALSE(TokenHistory::Valid(tokens, bad));
  }
}

ChunkKeys KeysOf(const TokenHistory& history, bool with_classes,
                 const std::string& owner = "anna") {
  ChunkKeys keys;
  keys.Begin(owner, /*chunk=*/4, with_classes);
  keys.Extend(history, history.size());
  return keys;
}

TEST(ChunkKeys, AreOfOwnerAndWholePrefixHoweverItGrew) {
  TokenHistory history;
  ChunkKeys grown;
  grown.Begin("anna", /*chunk=*/4, /*with_classes=*/false);
  for (TokenId token = 0; token < 11; ++token) {
    history.Append(token, token < 6 ? RowClass::kPrompt : RowClass::kSampled);
    grown.Extend(history, history.size());
  }
  const ChunkKeys whole = KeysOf(history, false);
  ASSERT_EQ(whole.keys().size(), 2);
  EXPECT_TRUE(std::equal(grown.keys().begin(), grown.keys().end(), whole.keys().begin()));

  TokenHistory other = history;
  other.Truncate(0);
  other.Append(std::vector<TokenId>{9, 1, 2, 3, 4, 5, 6, 7}, RowClass::kPrompt);
  EXPECT_FALSE(KeysOf(other, false).keys()[1] == whole.keys()[1]) << "its first token differs";
  EXPECT_FALSE(KeysOf(history, false, "ben").keys()[0] == whole.keys()[0]);
}

TEST(ChunkKeys, DifferByClassesOnlyWhereAskedTo) {
  TokenHistory given;
  given.Append(std::vector<TokenId>(8, 3), RowClass::kPrompt);
  TokenHistory sampled;
  sampled.Append(std::vector<TokenId>(6, 3), RowClass::kPrompt);
  sampled.Append(std::vector<TokenId>(2, 3), RowClass::kSampled);
  EXPECT_TRUE(KeysOf(given, false).keys()[1] == KeysOf(sampled, false).keys()[1]);
  EXPECT_TRUE(KeysOf(given, true).keys()[0] == KeysOf(sampled, true).keys()[0]);
  EXPECT_FALSE(KeysOf(given, true).keys()[1] == KeysOf(sampled, true).keys()[1]);
}

}  // namespace
}  // namespace retnet
