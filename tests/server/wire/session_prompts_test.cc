// Prompts that follow the history of a session.
#include <string>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/server/wire/request_translation_fixture.h"

namespace retnet {
namespace {

using ::testing::ElementsAre;

// The tokens that a request adds to a session with this history.
std::vector<TokenId> Added(const Request& request, const TokenHistory& history) {
  std::vector<TokenId> tokens;
  if (request.head) {
    const PromptHead head = request.head(history);
    tokens = head.history;
    tokens.insert(tokens.end(), head.prompt.begin(), head.prompt.end());
  }
  tokens.insert(tokens.end(), request.prompt.begin(), request.prompt.end());
  return tokens;
}

std::vector<TokenId> WithBos(std::vector<TokenId> tokens) {
  tokens.insert(tokens.begin(), 1);
  return tokens;
}

TEST_F(RequestTranslation, LeavesBosOpenOnASession) {
  const std::vector<TokenId> tokens = *tokenizer_.Encode("abcd ab");
  const TokenHistory empty;
  const TokenHistory some({7}, {});
  v1::GenerateRequest request;
  request.set_text("abcd ab");
  request.set_session_id("s");
  auto plan = TranslateGenerate(request, model_);
  ASSERT_TRUE(plan.ok()) << plan.status();
  EXPECT_EQ(Added(plan->request, empty), WithBos(tokens));
  EXPECT_EQ(Added(plan->request, some), tokens);
  EXPECT_TRUE(plan->request.keep);
  request.set_add_bos(true);
  plan = TranslateGenerate(request, model_);
  EXPECT_EQ(Added(plan->request, empty), WithBos(tokens));
  EXPECT_EQ(Added(plan->request, some), WithBos(tokens));
  request.clear_session_id();
  request.clear_add_bos();
  request.set_keep(true);
  plan = TranslateGenerate(request, model_);
  EXPECT_TRUE(plan->needs.make);
  EXPECT_EQ(plan->request.prompt, WithBos(tokens));
  request.clear_text();
  EXPECT_EQ(TranslateGenerate(request, model_).status().code(), absl::StatusCode::kInvalidArgument);
}

// What a stop string has cut off a token is tokenized with the text behind it, and without one too.
TEST_F(RequestTranslation, PutsTheBytesOfACutTokenBeforeTheNextText) {
  const TokenId abc = (*tokenizer_.Encode("abc"))[0];
  TokenHistory history({7}, {});
  history.set_cut({.token = abc, .bytes = 1});
  v1::GenerateRequest request;
  request.set_session_id("s");
  request.set_text("bd ab");
  EXPECT_EQ(Added(TranslateGenerate(request, model_)->request, history),
            *tokenizer_.Encode("abd ab"));
  request.mutable_token_ids()->add_ids(5);
  EXPECT_THAT(Added(TranslateGenerate(request, model_)->request, history),
              ElementsAre(FakeTokenizer::ByteToken('a'), 5));
  request.clear_token_ids();
  EXPECT_THAT(Added(TranslateGenerate(request, model_)->request, history),
              ElementsAre(FakeTokenizer::ByteToken('a')));
  // A score is that of its own text.
  v1::ScoreRequest score;
  score.set_session_id("s");
  score.set_text("bd");
  const auto plan = TranslateScore(score, model_);
  ASSERT_TRUE(plan.ok()) << plan.status();
  EXPECT_THAT(plan->request.head(history).history, ElementsAre(FakeTokenizer::ByteToken('a')));
  EXPECT_EQ(plan->request.head(history).prompt, *tokenizer_.Encode("bd"));
}

TEST_F(RequestTranslation, GoesOnWithACharacterOnlyIfItAddsNothing) {
  const TokenHistory history(
      {7, FakeTokenizer::ByteToken('\xF0'), FakeTokenizer::ByteToken('\x9F')}, {});
  v1::GenerateRequest request;
  request.set_session_id("s");
  auto plan = TranslateGenerate(request, model_);
  plan->request.head(history);
  EXPECT_EQ(*plan->begun, "\xF0\x9F");
  request.set_text("x");
  plan = TranslateGenerate(request, model_);
  plan->request.head(history);
  EXPECT_EQ(*plan->begun, "");
}

}  // namespace
}  // namespace retnet
