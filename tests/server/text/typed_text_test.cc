// Text that is typed in pieces gives the tokens of the whole text, and gives them early.
#include "server/text/typed_text.h"

#include <algorithm>
#include <random>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/server/fake_tokenizer.h"

namespace retnet {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

std::vector<TokenId> Bytes(const std::string& text) {
  std::vector<TokenId> tokens;
  for (const char byte : text) tokens.push_back(FakeTokenizer::ByteToken(byte));
  return tokens;
}

TEST(TypedText, HoldsTheNewestWordBackUntilASpaceShowsWhereItEnds) {
  const FakeTokenizer tokenizer = FakeTokenizer::WithBytes();
  TypedText typed(&tokenizer);
  ASSERT_TRUE(typed.PushText("he sa").ok());
  EXPECT_EQ(*typed.TakeCertain(), Bytes("he"));
  EXPECT_EQ(typed.held_bytes(), 3);
  EXPECT_THAT(*typed.TakeCertain(), IsEmpty());
  ASSERT_TRUE(typed.PushText("w").ok());
  EXPECT_THAT(*typed.TakeCertain(), IsEmpty());
  ASSERT_TRUE(typed.PushText(" ").ok());
  EXPECT_EQ(*typed.TakeCertain(), Bytes(" saw"));
  EXPECT_EQ(*typed.TakeAll(), Bytes(" "));
  EXPECT_TRUE(typed.empty());
}

TEST(TypedText, TakesTokenIdsAsTheyAreAndAfterTheTextBeforeThem) {
  const FakeTokenizer tokenizer = FakeTokenizer::WithBytes();
  TypedText typed(&tokenizer);
  ASSERT_TRUE(typed.PushText("x").ok());
  const std::vector<TokenId> ids = {2, 1};
  ASSERT_TRUE(typed.PushTokens(ids).ok());
  EXPECT_THAT(*typed.TakeCertain(), ElementsAre(FakeTokenizer::ByteToken('x'), 2, 1));
}

TEST(TypedText, NeedsATokenizerForTextAlone) {
  TypedText typed(nullptr);
  EXPECT_EQ(typed.PushText("x").code(), absl::StatusCode::kFailedPrecondition);
  const std::vector<TokenId> ids = {7};
  ASSERT_TRUE(typed.PushTokens(ids).ok());
  EXPECT_THAT(*typed.TakeCertain(), ElementsAre(7));
}

TEST(TypedText, HoldsEverythingBackWhereTokensReachOverSpaces) {
  const FakeTokenizer tokenizer({"a", "b", " ", "a b"});
  EXPECT_FALSE(CutsAtSpaces(tokenizer));
  TypedText typed(&tokenizer);
  ASSERT_TRUE(typed.PushText("a b a").ok());
  EXPECT_THAT(*typed.TakeCertain(), IsEmpty());
  EXPECT_THAT(*typed.TakeAll(), ElementsAre(3, 2, 0));
  EXPECT_TRUE(CutsAtSpaces(FakeTokenizer({"a", "   ", "  a", " \xE2\x81\x87 "})));
}

// Three kinds of tokenizers: byte fallback without normalising, a plain one, and one that puts a
// space before a text.
class TypedTexts : public ::testing::TestWithParam<const char*> {};

TEST_P(TypedTexts, AreTheTokensOfTheWholeTextHoweverTheyAreCut) {
  const auto tokenizer = Tokenizer::Load(std::string(RETNET_SOURCE_DIR) + "/" + GetParam());
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  ASSERT_TRUE(CutsAtSpaces(**tokenizer));
  const std::vector<std::string> parts = {"Once",
                                          " upon",
                                          " a",
                                          " time",
                                          "  ",
                                          " ",
                                          "\n\n",
                                          " there",
                                          ", said ",
                                          "\"Yes,\"",
                                          "\xC3\xA9",
                                          "\xE6\x97\xA5\xE6\x9C\xAC",
                                          "\xC2\xA0",
                                          "\xE3\x80\x80",
                                          "\xE2\x80\x9C"
                                          "Oh"
                                          "\xE2\x80\x9D",
                                          "\xE2\x96\x81",
                                          "\t",
                                          "king"};
  std::mt19937 random(5);
  size_t early = 0;
  for (int round = 0; round < 400; ++round) {
    TypedText typed(tokenizer->get());
    std::string text;
    std::vector<TokenId> tokens;
    const int pieces = 1 + static_cast<int>(random() % 20);
    for (int i = 0; i < pieces; ++i) {
      const std::string& part = parts[random() % parts.size()];
      text += part;
      ASSERT_TRUE(typed.PushText(part).ok());
      const std::vector<TokenId> certain = *typed.TakeCertain();
      early += certain.size();
      tokens.insert(tokens.end(), certain.begin(), certain.end());
    }
    const std::vector<TokenId> rest = *typed.TakeAll();
    tokens.insert(tokens.end(), rest.begin(), rest.end());
    ASSERT_EQ(tokens, *(*tokenizer)->Encode(text)) << text;
  }
  EXPECT_GT(early, 1000);
}

INSTANTIATE_TEST_SUITE_P(Tokenizers, TypedTexts,
                         ::testing::Values("models/demo", "tests/testdata/tokenizers/plain",
                                           "tests/testdata/tokenizers/prefixed"));

}  // namespace
}  // namespace retnet
