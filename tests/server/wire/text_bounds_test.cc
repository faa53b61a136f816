// The bounds of texts.
#include <string>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/server/wire/request_translation_fixture.h"

namespace retnet {
namespace {

using ::testing::HasSubstr;

class TextBounds : public RequestTranslation {
 protected:
  TextBounds() { model_.max_context_length = 1 << 20; }
  static v1::GenerateRequest Text(std::string text) {
    v1::GenerateRequest request;
    request.set_text(std::move(text));
    return request;
  }
};

TEST_F(TextBounds, OfATextHoldForEveryCall) {
  constexpr int64_t kBound = 1000;
  model_.text.max_text_bytes = kBound;
  for (const int64_t bytes : {kBound - 1, kBound, kBound + 1}) {
    const std::string text(static_cast<size_t>(bytes), 'a');
    v1::ScoreRequest score;
    score.set_text(text);
    v1::TokenizeRequest tokenize;
    tokenize.set_text(text);
    v1::DetokenizeRequest detokenize;
    for (int64_t i = 0; i < bytes; ++i) detokenize.add_token_ids(FakeTokenizer::ByteToken('a'));
    for (const absl::Status& status :
         {TranslateGenerate(Text(text), model_).status(), TranslateScore(score, model_).status(),
          PlanTokenize(tokenize, model_).status(),
          TranslateDetokenize(detokenize, model_).status()}) {
      EXPECT_EQ(status.ok(), bytes <= kBound) << status;
      if (status.ok()) continue;
      EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
      const std::string message(status.message());
      EXPECT_THAT(message, HasSubstr("1001 bytes"));
      EXPECT_THAT(message, HasSubstr("1000"));
    }
    if (bytes <= kBound) continue;
    EXPECT_THAT(std::string(TranslateScore(score, model_).status().message()),
                HasSubstr("session"));
  }
}

// The longest piece has 4096 bytes.
TEST_F(TextBounds, OfTheContextAreSeenBeforeTokenizing) {
  model_.max_context_length = 2;
  for (const size_t bytes : {8191, 8192, 8193}) {
    const auto plan = PlanGenerate(Text(std::string(bytes, 'x')), model_);
    EXPECT_EQ(plan.ok(), bytes <= 8192) << bytes;
    if (plan.ok()) continue;
    EXPECT_THAT(std::string(plan.status().message()), HasSubstr("8193 bytes"));
    EXPECT_THAT(std::string(plan.status().message()), HasSubstr("8192"));
  }
}

// A score may be longer.
TEST_F(TextBounds, OfTheContextEndTokenizingEarly) {
  model_.max_context_length = 100;
  std::string text;
  for (int i = 0; i < 10000; ++i) text += "bcd efg ";
  const absl::Status status = TranslateGenerate(Text(text), model_).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()), HasSubstr("and more in 16"));  // of 80,000 bytes
  v1::ScoreRequest score;
  score.set_text(text);
  EXPECT_TRUE(TranslateScore(score, model_).ok());
}

TEST_F(TextBounds, OfWhatHasNoCut) {
  constexpr size_t kBound = 100000;
  model_.text.max_uncut_bytes = kBound;
  for (const std::string session : {"", "s"}) {
    for (const std::string before : {"", "ab cd"}) {
      for (const size_t bytes : {kBound - 1, kBound, kBound + 1}) {
        std::string text = before;
        text += ' ';
        text.append(bytes - 1, 'b');
        v1::GenerateRequest request = Text(text);
        request.set_session_id(session);
        const absl::Status status = TranslateGenerate(request, model_).status();
        EXPECT_EQ(status.ok(), bytes <= kBound) << bytes << status;
        if (status.ok()) continue;
        EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
        EXPECT_THAT(std::string(status.message()), HasSubstr("100000"));
      }
    }
  }
}

TEST_F(TextBounds, OfAnAnswerToTokenize) {
  // Ids of three bytes each, behind a head of five.
  v1::TokenizeResponse answer;
  const size_t most = (kMaxAnswerBytes - 5) / 3;
  for (const size_t tokens : {most - 1, most, most + 1}) {
    answer.Clear();
    const absl::Status status = FillTokens(std::vector<TokenId>(tokens, 20000), &answer);
    EXPECT_EQ(status.ok(), tokens <= most) << status;
    EXPECT_EQ(answer.ByteSizeLong() <= 4 << 20, status.ok());
  }
}

}  // namespace
}  // namespace retnet
