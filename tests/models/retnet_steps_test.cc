// The contract of Model on a small random checkpoint: what Launch refuses, results, steps in
// flight, transfers.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "tests/models/random_checkpoint.h"
#include "tests/models/test_model.h"

namespace retnet {
namespace {

using ::testing::HasSubstr;

constexpr int32_t kVocabulary = 97;
constexpr int32_t kMaxRows = 200;

TestModel Make(int32_t slots = 4) {
  static const auto* folder = new std::string(WriteRandomCheckpoint(
      {.config = R"({"vocab_size": 97, "hidden_size": 24, "num_hidden_layers": 2, "num_heads": 3,
                     "intermediate_size": 40})"}));
  return Backends().back().make(*folder, slots, kMaxRows);
}

Segment MakeSegment(SlotId slot, int32_t position, std::span<const TokenId> tokens,
                    std::span<const RowOutput> outputs = {}) {
  Segment segment;
  segment.slot = slot;
  segment.position = position;
  segment.tokens = tokens;
  segment.outputs = outputs;
  return segment;
}

RowOutput Greedy(int32_t row) {
  RowOutput output;
  output.row = row;
  output.request.sampling.temperature = 0;
  return output;
}

std::vector<SampleResult> ResultsOf(TestModel& model, std::span<const Segment> segments) {
  const absl::Status launched = model->Launch(segments);
  EXPECT_TRUE(launched.ok()) << launched;
  StepResult result;
  EXPECT_TRUE(model->Wait(&result).ok());
  return result.results;
}

class LaunchRefuses : public ::testing::Test {
 protected:
  void Expect(std::span<const Segment> segments, const std::string& message) {
    const absl::Status status = model_->Launch(segments);
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(std::string(status.message()), HasSubstr(message));
    StepResult result;
    EXPECT_EQ(model_->Wait(&result).code(), absl::StatusCode::kFailedPrecondition);
    EXPECT_EQ(model_->state(0).position, 0);
  }
  void ExpectOne(const Segment& segment, const std::string& message) {
    Expect({&segment, 1}, message);
  }
  void ExpectRequest(const SampleRequest& request, const std::string& message) {
    const RowOutput output{.row = 0, .request = request};
    ExpectOne(MakeSegment(0, 0, tokens_, {&output, 1}), message);
  }

  TestModel model_ = Make();
  std::vector<TokenId> tokens_ = {1, 2, 3};
};

TEST_F(LaunchRefuses, StepsOfNoOrTooManyRows) {
  Expect({}, "0 rows");
  ExpectOne(MakeSegment(0, 0, {}), "no tokens");
  const std::vector<TokenId> many(kMaxRows + 1, 5);
  ExpectOne(MakeSegment(0, 0, many), "201 rows; it must have 1 to 200");
}

TEST_F(LaunchRefuses, SlotsThatDoNotExistOrComeTwice) {
  ExpectOne(MakeSegment(4, 0, tokens_), "slot 4");
  ExpectOne(MakeSegment(-1, 0, tokens_), "slot -1");
  const Segment twice[] = {MakeSegment(0, 0, tokens_), MakeSegment(0, 0, tokens_)};
  Expect(twice, "twice");
  EXPECT_EQ(ResultsOf(model_, {twice, 1}).size(), 0);  // named by a refused step only
}

TEST_F(LaunchRefuses, SampledTokensAfterPromptTokens) {
  std::vector segments = {MakeSegment(0, 0, tokens_), MakeSegment(1, 0, tokens_)};
  segments[1].row_class = RowClass::kSampled;
  Expect(segments, "slot 1 has a segment of sampled tokens after one of prompt tokens");
  std::swap(segments[0], segments[1]);
  EXPECT_EQ(ResultsOf(model_, segments).size(), 0);
}

TEST_F(LaunchRefuses, PositionsThatAreNotTheSlots) {
  ExpectOne(MakeSegment(0, 1, tokens_), "position is 1");
}

TEST_F(LaunchRefuses, PositionsBeyondInt32) {
  model_.Write({{.base_position = 2147483584, .position = 2147483584},
                std::vector<std::byte>(model_->info().base_bytes)},
               1);
  const std::vector<TokenId> tokens(64, 5);
  ExpectOne(MakeSegment(1, 2147483584, tokens), "64 more tokens are too many");
}

TEST_F(LaunchRefuses, TokensOutsideTheVocabulary) {
  for (const TokenId token : {-1, kVocabulary, kLastSampled, -1000}) {
    ExpectOne(MakeSegment(0, 0, std::vector<TokenId>{1, token}), "vocabulary of 97");
  }
  ExpectOne(MakeSegment(0, 0, std::vector<TokenId>{kLastSampled}), "sampled no token");
}

TEST_F(LaunchRefuses, OutputsOfRowsOutOfOrderOrRange) {
  for (const auto& [first, second] : {std::pair(1, 1), {2, 1}, {0, 3}, {-1, 0}}) {
    const RowOutput outputs[] = {Greedy(first), Greedy(second)};
    ExpectOne(MakeSegment(0, 0, tokens_, outputs), "output of row");
  }
}

TEST_F(LaunchRefuses, RequestsThatMeanNothing) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const float infinity = std::numeric_limits<float>::infinity();
  ExpectRequest({.scored_token = kVocabulary}, "vocabulary");
  ExpectRequest({.top_logprobs = 21}, "top_logprobs is 21");
  ExpectRequest({.top_logprobs = -1}, "top_logprobs is -1");
  for (const float bad : {-1.0f, nan, infinity}) {
    ExpectRequest({.sampling = {.temperature = bad}}, "temperature");
  }
  for (const float bad : {-0.1f, 1.1f, nan}) {
    ExpectRequest({.sampling = {.top_p = bad}}, "top_p");
    ExpectRequest({.sampling = {.min_p = bad}}, "min_p");
  }
  ExpectRequest({.sampling = {.top_k = -1}}, "top_k");
  for (const LogitEdit& bad : {LogitEdit{.token = kVocabulary},
                               {.token = -1},
                               {.repetition = 0},
                               {.repetition = nan},
                               {.add = nan}}) {
    ExpectRequest({.sampling = {.edits = {&bad, 1}}}, bad.token == 0 ? "edit of token 0" : "token");
  }
}

TEST(RetNetSteps, ALastSampledTokenIsTheHostsOwn) {
  TestModel model = Make();
  const auto prompt = RandomTokens(70, kVocabulary, 3);
  const RowOutput last = Greedy(69);
  const RowOutput only = Greedy(0);
  TokenId by_host = ResultsOf(model, std::vector{MakeSegment(0, 0, prompt, {&last, 1})})[0].token;
  ResultsOf(model, std::vector{MakeSegment(1, 0, prompt, {&last, 1})});
  for (int32_t i = 0; i < 80; ++i) {
    const TokenId token = kLastSampled;
    const auto results =
        ResultsOf(model, std::vector{MakeSegment(1, 70 + i, {&token, 1}, {&only, 1}),
                                     MakeSegment(0, 70 + i, {&by_host, 1}, {&only, 1})});
    ASSERT_EQ(results[0].token, results[1].token);
    by_host = results[1].token;
  }
}

TEST(RetNetSteps, GreedyTakesTheGreatestLogit) {
  TestModel model = Make();
  const auto tokens = RandomTokens(5, kVocabulary, 4);
  const RowOutput outputs[] = {Greedy(1), Greedy(4)};
  model.logits().clear();
  const auto results = ResultsOf(model, std::vector{MakeSegment(0, 0, tokens, outputs)});
  ASSERT_EQ(results.size(), 2);
  ASSERT_EQ(model.logits().size(), 2 * kVocabulary);
  for (int32_t i = 0; i < 2; ++i) {
    const auto row = std::span(model.logits()).subspan(i * kVocabulary, kVocabulary);
    EXPECT_EQ(results[i].token, std::max_element(row.begin(), row.end()) - row.begin());
    EXPECT_TRUE(std::isnan(results[i].logprob));
  }
}

// More outputs than rows of logits are computed at a time.
TEST(RetNetSteps, ScoresEveryRowOfALongSegment) {
  TestModel model = Make();
  const auto tokens = RandomTokens(kMaxRows, kVocabulary, 5);
  std::vector<RowOutput> outputs(kMaxRows);
  for (int32_t i = 0; i < kMaxRows; ++i) {
    outputs[i].row = i;
    outputs[i].request.scored_token = tokens[(i + 1) % kMaxRows];
    outputs[i].request.top_logprobs = i % 3;
  }
  model.logits().clear();
  const auto results = ResultsOf(model, std::vector{MakeSegment(0, 0, tokens, outputs)});
  ASSERT_EQ(results.size(), kMaxRows);
  ASSERT_EQ(model.logits().size(), kMaxRows * kVocabulary);
  for (int32_t i = 0; i < kMaxRows; ++i) {
    const auto row = std::span(model.logits()).subspan(i * kVocabulary, kVocabulary);
    double sum = 0;
    for (const float logit : row) sum += std::exp(double{logit});
    ASSERT_EQ(results[i].token, outputs[i].request.scored_token);
    ASSERT_NEAR(results[i].logprob, row[outputs[i].request.scored_token] - std::log(sum), 1e-4);
    ASSERT_EQ(results[i].top.size(), i % 3);
  }
}

TEST(RetNetSteps, AReusedResultKeepsNothingOfTheStepBefore) {
  TestModel model = Make();
  const std::vector<TokenId> token = {5};
  RowOutput rich = Greedy(0);
  rich.request.logprob = true;
  rich.request.top_logprobs = 3;
  const RowOutput plain = Greedy(0);
  StepResult result;
  for (int32_t i = 0; i < 6; ++i) {  // every vector of results is reused
    ASSERT_TRUE(model->Launch(std::vector{MakeSegment(0, 2 * i, token, {&rich, 1})}).ok());
    ASSERT_TRUE(model->Wait(&result).ok());
    ASSERT_EQ(result.results[0].top.size(), 3);
    ASSERT_EQ(result.results[0].top[0].logprob, result.results[0].logprob);
    ASSERT_TRUE(model->Launch(std::vector{MakeSegment(0, 2 * i + 1, token, {&plain, 1})}).ok());
    ASSERT_TRUE(model->Wait(&result).ok());
    ASSERT_EQ(result.results.size(), 1);
    ASSERT_TRUE(result.results[0].top.empty());
    ASSERT_TRUE(std::isnan(result.results[0].logprob));
  }
}

TEST(RetNetSteps, TwoMayBeInFlightAndAreWaitedForInOrder) {
  TestModel model = Make();
  const auto tokens = RandomTokens(3, kVocabulary, 6);
  const RowOutput output = Greedy(2);
  const RowOutput first = Greedy(0);
  const TokenId last = kLastSampled;
  const std::vector prompt{MakeSegment(0, 0, tokens, {&output, 1})};
  const std::vector next{MakeSegment(0, 3, {&last, 1}, {&first, 1})};
  ASSERT_TRUE(model->Launch(prompt).ok());
  ASSERT_TRUE(model->Launch(next).ok());
  EXPECT_EQ(model->Launch(std::vector{MakeSegment(1, 0, tokens)}).code(),
            absl::StatusCode::kFailedPrecondition);
  StepResult one;
  StepResult two;
  ASSERT_TRUE(model->Wait(&one).ok());
  ASSERT_TRUE(model->Wait(&two).ok());

  TestModel alone = Make();
  EXPECT_EQ(ResultsOf(alone, prompt)[0].token, one.results[0].token);
  EXPECT_EQ(ResultsOf(alone, next)[0].token, two.results[0].token);
}

TEST(RetNetTransfers, ReportOnceEachWithTicketsOfTheirOwn) {
  TestModel model = Make();
  model.Run(0, RandomTokens(100, kVocabulary, 7), 100);
  std::vector<std::byte> bytes(model->StateBytes(model->state(0)));
  const auto read = model->StartRead(0, bytes);
  model.WaitFor(read);
  const auto write = model->StartWrite(bytes, model->state(0), 1);
  model.WaitFor(write);
  EXPECT_NE(*read, *write);
}

TEST(RetNetTransfers, OfAWrongSizeOrToATakenSlotAreRefused) {
  TestModel model = Make();
  model.Run(0, RandomTokens(100, kVocabulary, 8), 100);
  std::vector<std::byte> bytes(model->StateBytes(model->state(0)) + 1);
  EXPECT_EQ(model->StartRead(0, bytes).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(model->StartWrite(bytes, model->state(0), 1).status().code(),
            absl::StatusCode::kInvalidArgument);
  bytes.pop_back();
  EXPECT_EQ(model->StartRead(9, bytes).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(model->StartWrite(bytes, model->state(0), 0).status().code(),
            absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(model->state(0).position, 100);
}

}  // namespace
}  // namespace retnet
