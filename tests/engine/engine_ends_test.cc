// How requests and the engine end: cancellation, deadlines, a failed model, drain, destruction.
#include <atomic>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/time/clock.h"
#include "engine/engine.h"
#include "tests/engine/engine_fixture.h"

namespace retnet {
namespace {

using testing::HasSubstr;
using EngineEndsTest = EngineTest;

// Whoever has been told of an end finds its place free, so that even without a queue nobody is
// refused.
TEST_F(EngineEndsTest, AnEndMakesRoomBeforeItIsTold) {
  Start({.slots = 2}, {.max_queue = 0});
  std::vector<std::thread> threads;
  for (int thread = 0; thread < 2; ++thread) {
    threads.emplace_back([&] {
      for (int i = 0; i < 200; ++i) {
        const auto sink = std::make_shared<RecordingSink>();
        Submit(Generation(2), sink);
        EXPECT_TRUE(sink->AwaitDone().status.ok());
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(engine_->stats().requests_refused, 0);
}

TEST_F(EngineEndsTest, CancelFreesTheSlotWithinAStep) {
  const RequestId first = StartHeldWithOneSlot();
  const auto next = std::make_shared<RecordingSink>();
  Submit(Generation(1), next);
  engine_->Cancel(first);
  control_->Pass();
  const Completion completion = first_->AwaitDone();
  EXPECT_EQ(completion.reason, FinishReason::kCancelled);
  EXPECT_TRUE(absl::IsCancelled(completion.status));
  EXPECT_EQ(first_->results().size(), 1) << "of the step that ran when it was cancelled";
  control_->AwaitHeldStep();
  EXPECT_EQ(control_->step_count(), 2);
  EXPECT_EQ(engine_->stats().running, 1);
  control_->Release();
  EXPECT_TRUE(next->AwaitDone().status.ok());
  engine_->Cancel(first);
  engine_->Cancel(12345);
}

TEST_F(EngineEndsTest, DeadlineEndsAWaitingAndARunningRequest) {
  StartHeldWithOneSlot();
  const auto waiting = std::make_shared<RecordingSink>();
  Request request = Generation(1);
  request.deadline = absl::InfinitePast();
  Submit(request, waiting);
  control_->Pass();
  EXPECT_TRUE(absl::IsDeadlineExceeded(waiting->AwaitDone().status));
  EXPECT_FALSE(first_->done());
  control_->Release();

  Start({.step_time = absl::Milliseconds(1)}, {.max_context_length = 1 << 30});
  const auto running = std::make_shared<RecordingSink>();
  request = Generation(1 << 29);
  request.deadline = absl::Now() + absl::Milliseconds(30);
  Submit(request, running);
  const Completion completion = running->AwaitDone();
  EXPECT_TRUE(absl::IsDeadlineExceeded(completion.status));
  EXPECT_EQ(completion.reason, FinishReason::kError);
  EXPECT_GT(absl::Now(), request.deadline);
}

TEST_F(EngineEndsTest, AFailedModelFailsEveryRequestAndEveryLaterOne) {
  StartHeldWithOneSlot();
  const auto waiting = std::make_shared<RecordingSink>();
  Submit(Generation(5), waiting);
  EXPECT_TRUE(engine_->healthy());
  control_->FailAt(1, absl::DataLossError("the device is gone"));
  control_->Release();
  for (const auto& sink : {first_, waiting}) {
    const Completion completion = sink->AwaitDone();
    EXPECT_EQ(completion.status, absl::DataLossError("the device is gone"));
    EXPECT_EQ(completion.reason, FinishReason::kError);
  }
  EXPECT_EQ(first_->results().size(), 1);
  EXPECT_FALSE(engine_->healthy());
  const absl::Status late = engine_->Submit(Generation(5), waiting).status();
  EXPECT_TRUE(absl::IsUnavailable(late));
  EXPECT_THAT(std::string(late.message()), HasSubstr("the device is gone"));
  EXPECT_EQ(engine_->stats().waiting + engine_->stats().running, 0);
  EXPECT_TRUE(engine_->Drain(absl::InfiniteFuture()));
}

// Requests that arrive while the model fails are accepted and failed, or refused; none is
// forgotten.
TEST_F(EngineEndsTest, NobodyHangsWhenTheModelFailsUnderLoad) {
  for (int round = 0; round < 20; ++round) {
    Start();
    control_->FailAt(5, absl::InternalError("broken"));
    std::vector<std::thread> threads;
    for (int thread = 0; thread < 4; ++thread) {
      threads.emplace_back([&] {
        for (int i = 0; i < 10; ++i) {
          const auto sink = std::make_shared<RecordingSink>();
          const auto id = engine_->Submit(Generation(10), sink);
          if (id.ok()) {
            EXPECT_EQ(sink->AwaitDone().status, absl::InternalError("broken"));
          } else {
            EXPECT_TRUE(absl::IsUnavailable(id.status())) << id.status();
          }
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
    EXPECT_FALSE(engine_->healthy());
  }
}

TEST_F(EngineEndsTest, DrainLetsRunningRequestsFinishAndRefusesNewOnes) {
  StartHeldWithOneSlot();
  const auto waiting = std::make_shared<RecordingSink>();
  Submit(Generation(5), waiting);
  std::thread drain([&] {
    EXPECT_TRUE(engine_->Drain(absl::InfiniteFuture()));
    EXPECT_TRUE(first_->done());
    EXPECT_TRUE(waiting->done());
  });
  while (!absl::IsUnavailable(
      engine_->Submit(Generation(1), std::make_shared<RecordingSink>()).status())) {
    std::this_thread::yield();  // until the drain has begun
  }
  control_->Release();
  drain.join();
  EXPECT_TRUE(waiting->completion().status.ok());
}

TEST_F(EngineEndsTest, DrainCancelsWhatIsLeftAtTheDeadline) {
  for (absl::Time deadline : {absl::InfinitePast(), absl::Now() + absl::Milliseconds(20)}) {
    Start({.slots = 1, .step_time = absl::Milliseconds(1)}, {.max_context_length = 1 << 30});
    const auto running = std::make_shared<RecordingSink>();
    const auto waiting = std::make_shared<RecordingSink>();
    Submit(Generation(1 << 29), running);
    Submit(Generation(1), waiting);
    EXPECT_FALSE(engine_->Drain(deadline));
    for (const auto& sink : {running, waiting}) {
      ASSERT_TRUE(sink->done()) << "when Drain returns, everybody has been told";
      EXPECT_TRUE(absl::IsUnavailable(sink->completion().status));
      EXPECT_EQ(sink->completion().reason, FinishReason::kError);
    }
    EXPECT_TRUE(absl::IsUnavailable(engine_->Submit(Generation(1), running).status()));
    EXPECT_TRUE(engine_->Drain(absl::InfinitePast())) << "nothing is left";
    EXPECT_TRUE(engine_->healthy());
  }
}

TEST_F(EngineEndsTest, DrainReturnsWhenTheLastSinkHasReturned) {
  class SlowSink : public TokenSink {
   public:
    void OnTokens(std::span<const SampleResult>) override {}
    void OnFinish(const Completion&) override {
      in_done = true;
      absl::SleepFor(absl::Milliseconds(20));
      told = true;
    }
    std::atomic<bool> in_done = false;
    std::atomic<bool> told = false;
  };
  Start();
  const auto sink = std::make_shared<SlowSink>();
  Submit(Generation(1), sink);
  while (!sink->in_done) std::this_thread::yield();
  EXPECT_TRUE(engine_->Drain(absl::InfiniteFuture()));
  EXPECT_TRUE(sink->told);
}

// What runs would take for ever, so that nothing but a cancellation can end it.
TEST_F(EngineEndsTest, DestructionCancelsWhatIsLeft) {
  Start({.slots = 1, .step_time = absl::Milliseconds(1)}, {.max_context_length = 1 << 30});
  const auto waiting = std::make_shared<RecordingSink>();
  Submit(Generation(1 << 29), first_);
  Submit(Generation(5), waiting);
  first_->AwaitResults(1);
  engine_.reset();
  for (const auto& sink : {first_, waiting}) {
    ASSERT_TRUE(sink->done());
    EXPECT_TRUE(absl::IsCancelled(sink->completion().status)) << sink->completion().status;
    EXPECT_EQ(sink->completion().reason, FinishReason::kCancelled);
  }
}

}  // namespace
}  // namespace retnet
