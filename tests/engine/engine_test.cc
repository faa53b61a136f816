#include "engine/engine.h"

#include <algorithm>
#include <atomic>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "tests/engine/engine_fixture.h"
#include "tests/engine/oracle.h"

namespace retnet {
namespace {

using testing::HasSubstr;

TEST_F(EngineTest, AnswersOneRequest) {
  Start();
  Request request = Generation(20);
  request.logprobs = true;
  request.top_logprobs = 3;
  Submit(request, first_);
  const Completion completion = first_->AwaitDone();
  EXPECT_TRUE(completion.status.ok());
  EXPECT_EQ(completion.reason, FinishReason::kLength);
  EXPECT_TRUE(SameResults(first_->results(), ExpectedOf(model_, request, 32768).results));
}

TEST_F(EngineTest, SubmittedFromManyThreadsEqualsAlone) {
  constexpr int kThreads = 8;
  constexpr int kRequests = 25;
  constexpr int32_t kContext = 50;
  Start({.slots = 5, .max_rows = 9},
        {.max_queue = kThreads * kRequests, .max_context_length = kContext});
  std::vector<std::thread> threads;
  std::atomic<int> cancelled = 0;
  for (int thread = 0; thread < kThreads; ++thread) {
    threads.emplace_back([&, thread] {
      std::mt19937 random(thread);
      std::vector<std::pair<Request, std::shared_ptr<RecordingSink>>> mine;
      for (int i = 0; i < kRequests; ++i) {
        Request request = RandomRequest(model_, kContext, random);
        mine.emplace_back(request, std::make_shared<RecordingSink>());
        const RequestId id = Submit(request, mine.back().second);
        if (random() % 8 == 0) engine_->Cancel(id);
        if (random() % 4 == 0) mine.back().second->AwaitDone();
      }
      for (const auto& [request, sink] : mine) {
        const Completion completion = sink->AwaitDone();
        const Expected expected = ExpectedOf(model_, request, kContext);
        std::span<const SampleResult> answers = expected.results;
        if (completion.reason == FinishReason::kCancelled) {
          ++cancelled;
          EXPECT_TRUE(absl::IsCancelled(completion.status));
          ASSERT_LE(sink->results().size(), answers.size());
          answers = answers.first(sink->results().size());
        } else {
          ASSERT_TRUE(completion.status.ok());
          EXPECT_EQ(completion.reason, expected.reason);
        }
        EXPECT_TRUE(SameResults(sink->results(), answers));
        EXPECT_EQ(sink->calls_after_done(), 0);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  const EngineStats stats = engine_->stats();
  EXPECT_EQ(stats.requests_finished, kThreads * kRequests);
  EXPECT_EQ(stats.waiting, 0);
  EXPECT_EQ(stats.running, 0);
  EXPECT_EQ(stats.free_slots, 5);
  EXPECT_EQ(stats.requests_refused, 0);
  EXPECT_GT(cancelled, 0);
}

TEST_F(EngineTest, AFullQueueHasRoomForWhoHasLessThanTheirShare) {
  StartHeldWithOneSlot({.max_queue = 3});
  std::vector<std::shared_ptr<RecordingSink>> flood;
  for (int i = 0; i < 3; ++i) {
    Submit(Generation(1), flood.emplace_back(std::make_shared<RecordingSink>()));
  }
  Request other = Generation(1);
  other.tenant.principal = "modest";
  const auto modest = std::make_shared<RecordingSink>();
  Submit(other, modest);
  Submit(other, std::make_shared<RecordingSink>());
  const absl::Status refused = engine_->Submit(other, std::make_shared<RecordingSink>()).status();
  EXPECT_EQ(refused.code(), absl::StatusCode::kResourceExhausted) << "2 of 4 are its share";
  control_->Release();
  EXPECT_TRUE(modest->AwaitDone().status.ok());
  EXPECT_EQ(flood.back()->AwaitDone().status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_TRUE(flood.front()->AwaitDone().status.ok());
}

TEST_F(EngineTest, RefusesAtOnceWhenTheQueueIsFull) {
  StartHeldWithOneSlot({.max_queue = 2});
  const auto sink = std::make_shared<RecordingSink>();
  const RequestId second = Submit(Generation(1), sink);
  Submit(Generation(1), sink);
  const absl::Status refused = engine_->Submit(Generation(1), sink).status();
  EXPECT_EQ(refused.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(refused.message()), HasSubstr("max_queue = 2"));
  EXPECT_EQ(engine_->stats().requests_refused, 1);
  EXPECT_EQ(engine_->stats().waiting, 2);

  const auto after = std::make_shared<RecordingSink>();
  engine_->Cancel(second);
  control_->Pass();
  sink->AwaitDone();
  EXPECT_TRUE(engine_->Submit(Generation(1), after).ok()) << "there is room again";
  control_->Release();
}

TEST_F(EngineTest, InvalidRequestsAreRefusedAndCounted) {
  Start();
  Request request = Generation(0);
  EXPECT_TRUE(absl::IsInvalidArgument(engine_->Submit(request, first_).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(engine_->Submit(Generation(1), nullptr).status()));
  EXPECT_EQ(engine_->stats().requests_refused, 2);
  EXPECT_TRUE(engine_->Drain(absl::InfiniteFuture()));
  EXPECT_FALSE(first_->done());
}

// A sink may call the engine: here each end submits the next request and looks at the counters.
TEST_F(EngineTest, SinksMayCallTheEngine) {
  class Chain : public TokenSink {
   public:
    Chain(Engine& engine, int left, std::shared_ptr<RecordingSink> last)
        : engine_(engine), left_(left), last_(std::move(last)) {}
    void OnTokens(std::span<const SampleResult>) override { engine_.Cancel(12345); }
    void OnFinish(const Completion& completion) override {
      EXPECT_EQ(engine_.stats().running, 0);
      EXPECT_EQ(engine_.stats().free_slots, engine_.model_info().slots);
      if (left_ == 0 || !engine_.healthy()) return last_->OnFinish(completion);
      auto next = std::make_shared<Chain>(engine_, left_ - 1, last_);
      EXPECT_TRUE(engine_.Submit(Generation(2), std::move(next)).ok());
    }

   private:
    Engine& engine_;
    int left_;
    std::shared_ptr<RecordingSink> last_;
  };
  Start();
  Submit(Generation(2), std::make_shared<Chain>(*engine_, 50, first_));
  EXPECT_TRUE(first_->AwaitDone().status.ok());
  EXPECT_EQ(engine_->stats().requests_finished, 51);
}

TEST_F(EngineTest, StatsAreOnePicture) {
  constexpr int kRequests = 300;
  Start({.slots = 3}, {.max_queue = kRequests});
  std::atomic<bool> stop = false;
  std::atomic<int> submitted = 0;
  std::thread watcher([&] {
    EngineStats before;
    while (!stop) {
      const int least = submitted;
      const EngineStats stats = engine_->stats();
      ASSERT_EQ(stats.running + stats.free_slots, 3);
      ASSERT_GE(stats.waiting, 0);
      ASSERT_GE(stats.waiting + stats.running + stats.requests_finished, least);
      ASSERT_LE(stats.waiting + stats.running + stats.requests_finished, kRequests);
      ASSERT_GE(stats.steps, before.steps);
      ASSERT_GE(stats.generated_tokens, before.generated_tokens);
      ASSERT_GE(stats.requests_finished, before.requests_finished);
      before = stats;
    }
  });
  for (int i = 0; i < kRequests; ++i) {
    Submit(Generation(7), std::make_shared<RecordingSink>());
    ++submitted;
  }
  EXPECT_TRUE(engine_->Drain(absl::InfiniteFuture()));
  stop = true;
  watcher.join();
  const EngineStats stats = engine_->stats();
  EXPECT_EQ(stats.requests_finished, kRequests);
  EXPECT_EQ(stats.generated_tokens, 7 * kRequests);
  EXPECT_EQ(stats.prompt_tokens, 3 * kRequests);
  EXPECT_EQ(stats.steps, control_->step_count());
}

TEST_F(EngineTest, LongPromptsDoNotStallADecodingRequest) {
  Start({.slots = 8}, {.executor = {.max_rows = 8}});
  control_->Hold();
  Submit(Generation(50), first_);
  control_->AwaitHeldStep();
  const auto others = std::make_shared<RecordingSink>();
  Request request;
  request.kind = RequestKind::kScore;
  request.prompt.assign(500, 1);
  request.priority = 1;
  for (int i = 0; i < 20; ++i) Submit(request, std::make_shared<RecordingSink>());
  control_->Release();
  EXPECT_TRUE(first_->AwaitDone().status.ok());
  const auto steps = control_->steps();
  int with_prompts = 0;
  for (int step = 1; step < 50; ++step) {
    ASSERT_EQ(steps[step][0].row_class, RowClass::kSampled) << "step " << step;
    with_prompts += steps[step].size() > 1;
  }
  EXPECT_GE(with_prompts, 45) << "nearly every step has a piece of a prompt beside it";
  engine_->Drain(absl::InfinitePast());
}

TEST_F(EngineTest, StepsBesideDecodingRequestsHoldFewerRowsTheLessTimeTheyMayTake) {
  const auto prompt_rows = [&](absl::Duration max_step) {
    // Long enough for what else the machine does to matter little.
    Start({.slots = 2, .max_rows = 16, .row_time = absl::Milliseconds(2)},
          {.executor = {.max_step = max_step}});
    control_->Hold();
    const auto decoding = std::make_shared<RecordingSink>();
    Submit(Generation(40), decoding);
    control_->AwaitHeldStep();
    Request request;
    request.kind = RequestKind::kScore;
    request.prompt.assign(5000, 1);
    Submit(request, std::make_shared<RecordingSink>());
    control_->Release();
    EXPECT_TRUE(decoding->AwaitDone().status.ok());
    const auto steps = control_->steps();
    engine_->Drain(absl::InfinitePast());
    int32_t rows = 0;  // once the cost of rows has been learned
    for (int step = 10; step < 40; ++step) {
      for (const auto& segment : steps.at(step)) {
        rows += segment.row_class == RowClass::kPrompt ? segment.rows : 0;
      }
    }
    return rows;
  };
  const int32_t unlimited = prompt_rows(absl::InfiniteDuration());
  EXPECT_GT(unlimited, 25 * 12) << "whole chunks";
  EXPECT_LT(prompt_rows(absl::ZeroDuration()), unlimited / 2);
}

TEST_F(EngineTest, StepsKeepTheRowBudget) {
  for (int32_t rows : {1, 5, 16, 0, 1000}) {
    Start({.max_rows = 16}, {.executor = {.max_rows = rows}});
    const int32_t budget = rows == 0 || rows > 16 ? 16 : rows;
    Request request = Generation(3);
    request.prompt.assign(100, 1);
    for (int i = 0; i < 6; ++i) Submit(request, std::make_shared<RecordingSink>());
    EXPECT_TRUE(engine_->Drain(absl::InfiniteFuture()));
    int32_t most = 0;
    for (const auto& step : control_->steps()) {
      int32_t total = 0;
      for (const auto& segment : step) total += segment.rows;
      most = std::max(most, total);
    }
    EXPECT_EQ(most, budget);
  }
}

}  // namespace
}  // namespace retnet
