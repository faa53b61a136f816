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

// What the typed text adds to a session with this history.
std::vector<TokenId> Take(TypedText* typed, bool turn_ends, const TokenHistory& history) {
  absl::StatusOr<bool> done = false;
  while (done.ok() && !*done) done = typed->Step(turn_ends);
  EXPECT_TRUE(done.ok()) << done.status();
  const TypedTokens taken = typed->Take(turn_ends);
  const PromptHead head = taken.head.Make(history, RequestKind::kPrefill);
  std::vector<TokenId> tokens = head.history;
  tokens.insert(tokens.end(), head.prompt.begin(), head.prompt.end());
  tokens.insert(tokens.end(), taken.tokens.begin(), taken.tokens.end());
  EXPECT_EQ(taken.empty(), taken.tokens.empty() && !taken.has_head_text);
  return tokens;
}
std::vector<TokenId> TakeCertain(TypedText* typed) { return Take(typed, false, TokenHistory()); }
std::vector<TokenId> TakeAll(TypedText* typed) { return Take(typed, true, TokenHistory()); }

TEST(TypedText, HoldsTheNewestWordBackUntilASpaceShowsWhereItEnds) {
  const FakeTokenizer tokenizer = FakeTokenizer::WithBytes();
  TypedText typed(&tokenizer, TextLimits());
  ASSERT_TRUE(typed.PushText("he sa").ok());
  EXPECT_EQ(TakeCertain(&typed), Bytes("he"));
  EXPECT_EQ(typed.held_bytes(), 3);
  EXPECT_THAT(TakeCertain(&typed), IsEmpty());
  ASSERT_TRUE(typed.PushText("w").ok());
  EXPECT_THAT(TakeCertain(&typed), IsEmpty());
  ASSERT_TRUE(typed.PushText(" ").ok());
  EXPECT_EQ(TakeCertain(&typed), Bytes(" saw"));
  EXPECT_EQ(TakeAll(&typed), Bytes(" "));
  EXPECT_EQ(typed.held_bytes(), 0);
}

TEST(TypedText, TakesTokenIdsAsTheyAreAndAfterTheTextBeforeThem) {
  const FakeTokenizer tokenizer = FakeTokenizer::WithBytes();
  TypedText typed(&tokenizer, TextLimits());
  ASSERT_TRUE(typed.PushText("x").ok());
  const std::vector<TokenId> ids = {2, 1};
  typed.PushTokens(ids);
  EXPECT_THAT(TakeCertain(&typed), ElementsAre(FakeTokenizer::ByteToken('x'), 2, 1));
}

TEST(TypedText, NeedsATokenizerForTextAlone) {
  TypedText typed(nullptr, TextLimits());
  EXPECT_EQ(typed.PushText("x").code(), absl::StatusCode::kFailedPrecondition);
  const std::vector<TokenId> ids = {7};
  typed.PushTokens(ids);
  EXPECT_THAT(TakeCertain(&typed), ElementsAre(7));
}

TEST(TypedText, HoldsEverythingBackWhereTokensReachOverSpaces) {
  const FakeTokenizer tokenizer({"a", "b", " ", "a b"});
  TypedText typed(&tokenizer, TextLimits());
  ASSERT_TRUE(typed.PushText("a b a").ok());
  EXPECT_THAT(TakeCertain(&typed), IsEmpty());
  EXPECT_THAT(TakeAll(&typed), ElementsAre(3, 2, 0));
}

TEST(TypedText, PutsABosBeforeTheFirstText) {
  const FakeTokenizer tokenizer = FakeTokenizer::WithBytes();
  const std::vector<TokenId> ids = {2};
  const TokenHistory some({7}, {});
  TypedText typed(&tokenizer, TextLimits());
  typed.set_bos({.token = 1, .only_if_first = true});
  ASSERT_TRUE(typed.PushText("x").ok());
  EXPECT_THAT(Take(&typed, true, TokenHistory()), ElementsAre(1, FakeTokenizer::ByteToken('x')));
  ASSERT_TRUE(typed.PushText("x").ok());
  EXPECT_THAT(Take(&typed, true, some), ElementsAre(FakeTokenizer::ByteToken('x')));
  typed.set_bos({.token = 1});
  ASSERT_TRUE(typed.PushText("x").ok());
  EXPECT_THAT(Take(&typed, true, some), ElementsAre(1, FakeTokenizer::ByteToken('x')));
  ASSERT_TRUE(typed.PushText("x").ok());
  EXPECT_THAT(Take(&typed, true, some), ElementsAre(FakeTokenizer::ByteToken('x')));
  typed.set_bos({.token = 1});
  typed.PushTokens(ids);
  EXPECT_THAT(Take(&typed, true, some), ElementsAre(2));
}

TEST(TypedText, BoundsTheTextOfATurn) {
  const FakeTokenizer tokenizer = FakeTokenizer::WithBytes();
  for (const size_t bytes : {49, 50, 51}) {
    TypedText typed(&tokenizer, {.max_text_bytes = 100});
    for (int turn = 0; turn < 2; ++turn) {
      EXPECT_TRUE(typed.PushText(std::string(50, 'a')).ok());
      const absl::Status status = typed.PushText(std::string(bytes, 'b'));
      EXPECT_EQ(status.ok(), bytes <= 50) << status;
      EXPECT_EQ(absl::IsInvalidArgument(status), bytes > 50);
      TakeAll(&typed);
    }
  }
}

TEST(TypedText, BoundsWhatHasNoCut) {
  const FakeTokenizer tokenizer = FakeTokenizer::WithBytes();
  for (const bool turn_ends : {false, true}) {
    for (const size_t bytes : {99, 100, 101}) {
      TypedText typed(&tokenizer, {.max_uncut_bytes = 100});
      ASSERT_TRUE(typed.PushText("he " + std::string(bytes - 1, 'a')).ok());
      absl::StatusOr<bool> done = false;
      while (done.ok() && !*done) done = typed.Step(turn_ends);
      // A part of 16 KiB is taken at once, cut or not.
      EXPECT_EQ(done.ok(), bytes <= 100 || turn_ends) << done.status();
    }
  }
}

// Byte fallback without normalising, and kinds that put a space before a text, remove spaces, or
// normalise.
class TypedTexts : public ::testing::TestWithParam<const char*> {};

TEST_P(TypedTexts, AreTheTokensOfTheWholeTextHoweverTheyAreCut) {
  const auto tokenizer = Tokenizer::Load(std::string(RETNET_SOURCE_DIR) + "/" + GetParam());
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
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
    TypedText typed(tokenizer->get(), TextLimits());
    std::string text;
    std::vector<TokenId> tokens;
    const int pieces = 1 + static_cast<int>(random() % 20);
    for (int i = 0; i < pieces; ++i) {
      const std::string& part = parts[random() % parts.size()];
      text += part;
      ASSERT_TRUE(typed.PushText(part).ok());
      const std::vector<TokenId> certain = TakeCertain(&typed);
      early += certain.size();
      tokens.insert(tokens.end(), certain.begin(), certain.end());
    }
    const std::vector<TokenId> rest = TakeAll(&typed);
    tokens.insert(tokens.end(), rest.begin(), rest.end());
    ASSERT_EQ(tokens, *(*tokenizer)->Encode(text)) << text;
  }
  EXPECT_GT(early, 1000);
}

INSTANTIATE_TEST_SUITE_P(
    Tokenizers, TypedTexts,
    ::testing::Values("models/demo", "tests/testdata/tokenizers/plain",
                      "tests/testdata/tokenizers/prefixed", "tests/testdata/tokenizers/llama",
                      "tests/testdata/tokenizers/nfkc", "tests/testdata/tokenizers/gpt2",
                      "tests/testdata/tokenizers/neox", "tests/testdata/tokenizers/llama3",
                      "tests/testdata/tokenizers/llama_json", "tests/testdata/tokenizers/mistral"));

}  // namespace
}  // namespace retnet
