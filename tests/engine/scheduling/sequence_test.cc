#include "engine/scheduling/sequence.h"

#include <gtest/gtest.h>

#include <memory>
#include <utility>
#include <vector>

namespace retnet {
namespace {

constexpr int32_t kContext = 100;
const absl::Time kStart = absl::UnixEpoch();

absl::Time At(int seconds) { return kStart + absl::Seconds(seconds); }

Request Generation(std::vector<TokenId> prompt, int32_t max_tokens) {
  Request request;
  request.prompt = std::move(prompt);
  request.max_tokens = max_tokens;
  return request;
}

Sequence Make(Request request) { return Sequence(std::move(request), nullptr, kContext, kStart); }

// The next `rows` rows give `token`, if they give one.
void Compute(Sequence& sequence, int32_t rows, TokenId token, int second = 1) {
  std::vector<RowOutput> outputs;
  outputs.reserve(rows);
  sequence.MarkStarted(At(second));
  sequence.NextSegment(rows, &outputs);
  SampleResult result;
  result.token = token;
  sequence.Accept(rows, std::vector<SampleResult>(outputs.size(), result), At(second));
}

TEST(Sequence, SamplesFromTheLastPromptTokenAndThenFromThePendingOne) {
  Sequence sequence = Make(Generation({10, 11, 12}, 5));
  std::vector<RowOutput> outputs;
  outputs.reserve(8);
  Segment segment = sequence.NextSegment(2, &outputs);
  EXPECT_EQ(segment.row_class, RowClass::kPrompt);
  EXPECT_TRUE(segment.outputs.empty());
  sequence.Accept(2, {}, At(1));

  segment = sequence.NextSegment(1, &outputs);
  EXPECT_EQ(segment.position, 2);
  EXPECT_EQ(segment.tokens[0], 12);
  EXPECT_EQ(segment.row_class, RowClass::kPrompt);
  ASSERT_EQ(segment.outputs.size(), 1);
  EXPECT_EQ(segment.outputs[0].row, 0);
  EXPECT_EQ(segment.outputs[0].request.sampling.draw, 3) << "the place of the new token";
  const std::vector<SampleResult> results = {SampleResult{.token = 42, .top = {}}};
  sequence.Accept(1, results, At(2));

  EXPECT_EQ(sequence.rows_left(), 1) << "the newest token is pending";
  outputs.clear();
  segment = sequence.NextSegment(1, &outputs);
  EXPECT_EQ(segment.position, 3);
  EXPECT_EQ(segment.tokens[0], 42);
  EXPECT_EQ(segment.row_class, RowClass::kSampled);
  EXPECT_EQ(segment.outputs[0].request.sampling.draw, 4);
}

TEST(Sequence, EndsAtMaxTokensOrAtTheContextLength) {
  Sequence by_tokens = Make(Generation({1}, 2));
  Compute(by_tokens, 1, 5);
  EXPECT_FALSE(by_tokens.finished());
  Compute(by_tokens, 1, 5);
  ASSERT_TRUE(by_tokens.finished());
  EXPECT_EQ(by_tokens.completion().reason, FinishReason::kLength);

  Sequence by_context = Make(Generation(std::vector<TokenId>(kContext - 1, 3), 1 << 30));
  Compute(by_context, kContext - 1, 5);
  ASSERT_TRUE(by_context.finished());
  EXPECT_EQ(by_context.completion().reason, FinishReason::kLength);
  EXPECT_EQ(by_context.completion().usage.completion_tokens, 1);
}

TEST(Sequence, CountsTheStopTokenThatEndsIt) {
  Request request = Generation({1}, 9);
  request.stop_token_ids = {8, 7};
  Sequence sequence = Make(std::move(request));
  Compute(sequence, 1, 5);
  Compute(sequence, 1, 7);
  ASSERT_TRUE(sequence.finished());
  EXPECT_TRUE(sequence.completion().status.ok());
  EXPECT_EQ(sequence.completion().reason, FinishReason::kStop);
  EXPECT_EQ(sequence.completion().stop_token, 7);
  EXPECT_EQ(sequence.completion().usage.prompt_tokens, 1);
  EXPECT_EQ(sequence.completion().usage.completion_tokens, 2);
}

TEST(Sequence, AsksTheStopCheckerAboutEveryTokenButStopTokens) {
  std::vector<TokenId> asked;
  Request request = Generation({1}, 9);
  request.stop_token_ids = {7};
  request.stop = [&](TokenId token) {
    asked.push_back(token);
    return token == 6;
  };
  Sequence stopped = Make(request);
  Compute(stopped, 1, 5);
  Compute(stopped, 1, 6);
  ASSERT_TRUE(stopped.finished());
  EXPECT_EQ(stopped.completion().reason, FinishReason::kStop);
  EXPECT_EQ(stopped.completion().stop_token, kNoToken);
  EXPECT_EQ(asked, (std::vector<TokenId>{5, 6}));

  asked.clear();
  Sequence ended = Make(request);
  Compute(ended, 1, 7);
  EXPECT_TRUE(ended.finished());
  EXPECT_TRUE(asked.empty());
}

TEST(Sequence, ScoresEveryPromptTokenButTheFirst) {
  Request request;
  request.kind = RequestKind::kScore;
  request.prompt = {10, 11, 12, 13};
  request.top_logprobs = 3;
  Sequence sequence = Make(std::move(request));
  EXPECT_EQ(sequence.rows_left(), 3);
  std::vector<RowOutput> outputs;
  outputs.reserve(2);
  const Segment segment = sequence.NextSegment(2, &outputs);
  ASSERT_EQ(segment.outputs.size(), 2);
  for (int32_t row : {0, 1}) {
    EXPECT_EQ(segment.outputs[row].row, row);
    EXPECT_EQ(segment.outputs[row].request.scored_token, 11 + row);
    EXPECT_EQ(segment.outputs[row].request.top_logprobs, 3);
  }
  sequence.Accept(2, std::vector<SampleResult>{{11, -1.0f, {}}, {12, -1.0f, {}}}, At(1));
  EXPECT_FALSE(sequence.finished());
  Compute(sequence, 1, 13);
  ASSERT_TRUE(sequence.finished());
  EXPECT_EQ(sequence.completion().usage.prompt_tokens, 4);
  EXPECT_EQ(sequence.completion().usage.completion_tokens, 0);
}

TEST(Sequence, ScoreOfOneTokenIsFinishedFromTheStart) {
  Request request;
  request.kind = RequestKind::kScore;
  request.prompt = {10};
  const Sequence sequence = Make(std::move(request));
  EXPECT_TRUE(sequence.finished());
  EXPECT_TRUE(sequence.completion().status.ok());
}

TEST(Sequence, TimingsAddUpFromSubmissionToTheEnd) {
  Sequence sequence = Make(Generation({1, 2}, 3));
  Compute(sequence, 1, 0, /*second=*/2);
  Compute(sequence, 1, 5, /*second=*/5);
  Compute(sequence, 1, 5, /*second=*/9);
  sequence.End(absl::DeadlineExceededError("late"), At(14));
  const Completion& completion = sequence.completion();
  EXPECT_EQ(completion.reason, FinishReason::kError);
  EXPECT_EQ(completion.timings.queued, absl::Seconds(2));
  EXPECT_EQ(completion.timings.prefill, absl::Seconds(3));
  EXPECT_EQ(completion.timings.decode, absl::Seconds(9));
}

TEST(Sequence, ThatNeverRanWasQueuedAllTheTime) {
  Sequence sequence = Make(Generation({1, 2}, 3));
  sequence.End(absl::CancelledError("gone"), At(6));
  EXPECT_EQ(sequence.completion().reason, FinishReason::kCancelled);
  EXPECT_EQ(sequence.completion().timings.queued, absl::Seconds(6));
  EXPECT_EQ(sequence.completion().timings.prefill, absl::ZeroDuration());
  EXPECT_EQ(sequence.completion().timings.decode, absl::ZeroDuration());
}

}  // namespace
}  // namespace retnet
