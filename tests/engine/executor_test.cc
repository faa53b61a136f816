#include <algorithm>
#include <map>
#include <memory>
#include <random>
#include <utility>
#include <vector>

#include "tests/engine/executor_fixture.h"

namespace retnet {
namespace {

// Whatever else runs, arrives, is cancelled or runs out of time, a request gives what it gives
// alone.
TEST_F(ExecutorTest, BatchedEqualsAlone) {
  struct Running {
    Request request;
    std::shared_ptr<RecordingSink> sink;
  };
  std::map<FinishReason, int> reasons;
  int64_t steps_ahead = 0;
  int64_t preemptions = 0;
  for (uint32_t seed = 0; seed < 60; ++seed) {
    SCOPED_TRACE(seed);
    std::mt19937 random(seed);
    FakeModelOptions options;
    options.slots = 1 + random() % 6;
    options.max_rows = 1 + random() % 20;
    options.chunk = 1 + random() % 8;
    options.steps_in_flight = 1 + seed % 2;
    options.slow_transfers = seed % 3 == 0;
    Start(options, 1 + random() % options.max_rows);
    std::vector<Running> all;
    for (int turn = 0; turn < 100 || !executor_->idle(); ++turn) {
      ASSERT_LT(turn, 20000);
      now_ += absl::Seconds(1);
      while (turn < 100 && random() % 3 == 0) {
        Request request = RandomRequest(options, kExecutorContext, random);
        if (random() % 5 == 0) request.deadline = now_ + absl::Seconds(random() % 60);
        all.push_back({request, Admit(request)});
      }
      if (random() % 8 == 0) executor_->Cancel(1 + random() % (all.size() + 1));
      ASSERT_TRUE(Turn().ok()) << testing::PrintToString(control_->violations());
    }
    for (const auto& [request, sink] : all) {
      ASSERT_TRUE(sink->done());
      ASSERT_EQ(sink->calls_after_done(), 0);
      const Completion completion = sink->completion();
      const Expected expected = ExpectedOf(options, request, kExecutorContext);
      std::span<const SampleResult> results = expected.results;
      ++reasons[completion.reason];
      if (completion.status.ok()) {
        ASSERT_EQ(completion.reason, expected.reason);
        ASSERT_EQ(completion.stop_token, expected.stop_token);
      } else {
        ASSERT_LE(sink->results().size(), results.size());
        results = results.first(sink->results().size());
      }
      ASSERT_TRUE(SameResults(sink->results(), results));
      ASSERT_EQ(completion.usage.prompt_tokens, request.prompt.size());
      ASSERT_EQ(completion.usage.completion_tokens,
                request.kind == RequestKind::kScore ? 0 : results.size());
    }
    while (executor_->transferring()) executor_->Prepare(now_);
    EXPECT_EQ(executor_->stats().free_slots, options.slots);
    EXPECT_EQ(executor_->stats().pinned_bytes, 0);
    EXPECT_EQ(executor_->stats().requests_finished, all.size());
    steps_ahead += executor_->stats().steps_ahead;
    preemptions += executor_->stats().preemptions;
  }
  EXPECT_GT(preemptions, 50);
  EXPECT_GT(steps_ahead, 1000);
  for (FinishReason reason : {FinishReason::kStop, FinishReason::kLength, FinishReason::kCancelled,
                              FinishReason::kError}) {
    EXPECT_GT(reasons[reason], 50) << "the schedules must make every end happen";
  }
}

TEST_F(ExecutorTest, TheOrderOfPiecesDoesNotMatterToAnAnswer) {
  Request request = Generation(37, 10);
  request.sampling.seed = 5;
  std::vector<std::vector<TokenId>> texts;
  for (int32_t rows : {1, 2, 3, 16}) {
    Start(FakeModelOptions(), rows);
    const auto sink = Admit(request);
    while (!executor_->idle()) ASSERT_TRUE(Turn().ok());
    texts.push_back(sink->tokens());
  }
  EXPECT_EQ(texts[0].size(), 10);
  for (const auto& text : texts) EXPECT_EQ(text, texts[0]);
}

TEST_F(ExecutorTest, StopTokensAreBannedUntilMinTokensAreThere) {
  FakeModelOptions options;
  options.next = [](int32_t, TokenId) { return 5; };
  Start(options, 16);
  Request request = Generation(3, 10);
  request.sampling.temperature = 0.0f;
  request.stop_token_ids = {5};
  request.min_tokens = 4;
  const auto sink = Admit(request);
  while (!executor_->idle()) ASSERT_TRUE(Turn().ok());
  const std::vector<TokenId> tokens = sink->tokens();
  ASSERT_EQ(tokens.size(), 5);
  for (int i = 0; i < 4; ++i) EXPECT_NE(tokens[i], 5);
  EXPECT_EQ(tokens[4], 5);
  EXPECT_EQ(sink->completion().stop_token, 5);
}

TEST_F(ExecutorTest, ScoresStreamAsTheyCome) {
  Start(FakeModelOptions(), 16);
  Request request;
  request.kind = RequestKind::kScore;
  for (int i = 0; i < 1000; ++i) request.prompt.push_back(i % options_.vocab_size);
  const auto sink = Admit(request);
  size_t before = 0;
  while (!executor_->idle()) {
    ASSERT_TRUE(Turn().ok());
    const size_t after = sink->results().size();
    EXPECT_GT(after, before);
    EXPECT_LE(after, before + 16);
    before = after;
  }
  EXPECT_TRUE(
      SameResults(sink->results(), ExpectedOf(options_, request, kExecutorContext).results));
  EXPECT_EQ(executor_->stats().generated_tokens, 0);
  EXPECT_EQ(executor_->stats().prompt_tokens, 999);
}

TEST_F(ExecutorTest, ScoreOfOneTokenTakesNoStep) {
  Start(FakeModelOptions(), 16);
  Request request;
  request.kind = RequestKind::kScore;
  request.prompt = {3};
  const auto sink = Admit(request);
  ASSERT_TRUE(Turn().ok());
  EXPECT_TRUE(sink->done());
  EXPECT_TRUE(sink->results().empty());
  EXPECT_EQ(control_->step_count(), 0);
}

TEST_F(ExecutorTest, CancelFreesTheSlotForTheNextStep) {
  FakeModelOptions options;
  options.slots = 1;
  Start(options, 16);
  const auto running = Admit(Generation(3, 50));
  const auto waiting = Admit(Generation(4, 1));
  ASSERT_TRUE(Turn().ok());
  EXPECT_EQ(executor_->stats().waiting, 1);
  executor_->Cancel(1);
  EXPECT_EQ(executor_->stats().free_slots, 1);
  ASSERT_TRUE(Turn().ok());
  EXPECT_TRUE(absl::IsCancelled(running->completion().status));
  EXPECT_EQ(running->completion().reason, FinishReason::kCancelled);
  EXPECT_EQ(running->tokens().size(), 1);
  EXPECT_TRUE(waiting->completion().status.ok());
}

// Whoever gives a long prompt up asks again. So does whoever has lost patience in the middle of an
// answer, with steps in flight or without.
TEST_F(ExecutorTest, AnsweredAgainWhatWasGivenUpGoesOnFromWhatWasComputed) {
  for (const int32_t in_flight : {1, 2}) {
    for (const bool by_deadline : {false, true}) {
      for (int turns = 1; turns < 30; ++turns) {
        FakeModelOptions options;
        options.steps_in_flight = in_flight;
        Start(options, /*max_rows=*/5);
        Request request = Generation(60, 30);
        for (int32_t i = 0; i < 60; ++i) request.prompt[i] = i % 7;
        request.sampling.temperature = 0.0f;
        const Request again = request;
        if (by_deadline) request.deadline = now_ + absl::Seconds(1);
        const auto given_up = Admit(request);
        for (int i = 0; i < turns; ++i) ASSERT_TRUE(Turn().ok());
        if (given_up->done()) break;
        const auto computed = static_cast<int32_t>(executor_->stats().prompt_tokens);
        if (by_deadline) {
          now_ += absl::Seconds(1);
        } else {
          executor_->Cancel(1);
        }
        const auto second = Admit(again);
        while (!second->done()) ASSERT_TRUE(Turn().ok());
        EXPECT_FALSE(given_up->completion().status.ok());
        EXPECT_GE(second->completion().usage.cached_tokens, computed - 2 * options.chunk) << turns;
        Start(options, 64);
        const auto alone = Admit(again);
        while (!alone->done()) ASSERT_TRUE(Turn().ok());
        ASSERT_EQ(second->tokens(), alone->tokens());
      }
    }
  }
}

TEST_F(ExecutorTest, DeadlinesEndWaitingAndRunningRequests) {
  FakeModelOptions options;
  options.slots = 1;
  Start(options, 16);
  Request request = Generation(3, 50);
  request.deadline = now_ + absl::Seconds(10);
  const auto running = Admit(request);
  request.deadline = now_ + absl::Seconds(5);
  const auto waiting = Admit(request);
  for (int second = 0; second <= 10; ++second) {
    ASSERT_TRUE(Turn().ok());
    EXPECT_EQ(waiting->done(), second >= 5);
    EXPECT_EQ(running->done(), second >= 10);
    now_ += absl::Seconds(1);
  }
  for (const auto& sink : {waiting, running}) {
    EXPECT_TRUE(absl::IsDeadlineExceeded(sink->completion().status));
    EXPECT_EQ(sink->completion().reason, FinishReason::kError);
  }
  EXPECT_EQ(running->tokens().size(), 10);
  EXPECT_EQ(waiting->tokens().size(), 0);
}

TEST_F(ExecutorTest, LaunchesTheNextStepBeforeItReadsTheLast) {
  FakeModelOptions options;
  options.steps_in_flight = 2;
  Start(options, 16);
  const auto sink = Admit(Generation(3, 5));
  for (int32_t turn = 1; turn <= 5; ++turn) {
    ASSERT_TRUE(Turn().ok());
    EXPECT_EQ(sink->tokens().size(), turn);
    EXPECT_EQ(control_->step_count(), std::min(turn + 1, 5)) << "none behind the last token";
  }
  EXPECT_TRUE(sink->done());
  EXPECT_EQ(executor_->stats().steps_ahead, 4);
}

TEST_F(ExecutorTest, LaunchesNothingAheadThatWouldLeaveSomebodyOut) {
  Request penalised = Generation(3, 5);
  penalised.sampling.frequency_penalty = 0.5f;
  Request guessing = Generation(3, 5);
  guessing.max_draft_tokens = 2;
  Request banned = Generation(3, 5);
  banned.min_tokens = 5;
  for (const Request& request : {penalised, guessing, banned}) {
    FakeModelOptions options;
    options.steps_in_flight = 2;
    Start(options, 16);
    Admit(Generation(3, 5));
    Admit(request);
    while (!executor_->idle()) ASSERT_TRUE(Turn().ok());
    EXPECT_EQ(control_->step_count(), 5);
    for (const auto& step : control_->steps()) EXPECT_EQ(step.size(), 2);
    EXPECT_EQ(executor_->stats().steps_ahead, 0);
  }
}

TEST_F(ExecutorTest, WhatIsInFlightWhenItsSequenceEndsIsDropped) {
  FakeModelOptions options;
  options.steps_in_flight = 2;
  options.slots = 1;
  options.next = [](int32_t position, TokenId) { return position; };
  Start(options, 16);
  Request request = Generation(3, 50);
  request.sampling.temperature = 0.0f;
  request.stop_token_ids = {4};  // the third token
  const auto stopped = Admit(request);
  const auto next = Admit(request);
  while (!stopped->done()) ASSERT_TRUE(Turn().ok());
  EXPECT_EQ(control_->step_count(), 4) << "one more had been launched";
  EXPECT_FALSE(executor_->stalled()) << "and is still to be waited for";
  while (!executor_->idle()) ASSERT_TRUE(Turn().ok());
  ASSERT_TRUE(Turn().ok());
  EXPECT_TRUE(executor_->stalled());
  for (const auto& sink : {stopped, next}) {
    EXPECT_EQ(sink->tokens(), (std::vector<TokenId>{2, 3, 4}));
  }
}

TEST_F(ExecutorTest, AFailedModelIsNotCalledAgain) {
  Start(FakeModelOptions(), 16);
  control_->FailAt(2, absl::DataLossError("broken"));
  const auto sink = Admit(Generation(3, 50));
  ASSERT_TRUE(Turn().ok());
  ASSERT_TRUE(Turn().ok());
  EXPECT_TRUE(absl::IsDataLoss(Turn()));
  EXPECT_FALSE(sink->done());
  executor_->EndAll(absl::DataLossError("broken"));
  EXPECT_TRUE(absl::IsDataLoss(Turn()));
  EXPECT_TRUE(sink->done());
  EXPECT_EQ(sink->tokens().size(), 2);
  EXPECT_EQ(control_->step_count(), 3);
  EXPECT_TRUE(control_->violations().empty());
}

}  // namespace
}  // namespace retnet
