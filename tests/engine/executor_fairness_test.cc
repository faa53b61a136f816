// Tenants on an executor: who gives up a slot, and how it goes on.
#include <memory>
#include <vector>

#include "tests/engine/executor_fixture.h"

namespace retnet {
namespace {

Tenant TenantOf(const char* principal) { return {.principal = principal, .connection = ""}; }

TEST_F(ExecutorTest, AFloodGivesUpASlotAtOnceAndGoesOnWhereItWas) {
  Start({.slots = 4}, 16);
  std::vector<std::shared_ptr<RecordingSink>> flood;
  Request long_one = Generation(9, 40);
  long_one.tenant = TenantOf("flood");
  std::vector<Request> requests;
  for (int i = 0; i < 8; ++i) {
    long_one.prompt[0] = i;
    requests.push_back(long_one);
    flood.push_back(Admit(long_one));
  }
  for (int turn = 0; turn < 10; ++turn) ASSERT_TRUE(Turn().ok());
  Request short_one = Generation(2, 1);
  short_one.tenant = TenantOf("modest");
  const auto modest = Admit(short_one);
  ASSERT_TRUE(Turn().ok());
  EXPECT_TRUE(modest->done()) << "its prompt and its only token are one step's";
  EXPECT_EQ(executor_->stats().preemptions, 1);
  while (!executor_->idle()) ASSERT_TRUE(Turn().ok());
  EXPECT_EQ(executor_->stats().prompt_tokens, 8 * 9 + 2) << "nothing was computed twice";
  for (int i = 0; i < 8; ++i) {
    const Expected expected = ExpectedOf(options_, requests[i], kExecutorContext);
    EXPECT_TRUE(SameResults(flood[i]->results(), expected.results));
    EXPECT_EQ(flood[i]->completion().usage.cached_tokens, 0);
  }
}

// Each tenant has as many slots as the others, however many sequences it brings, and nobody moves
// back and forth once that is so.
TEST_F(ExecutorTest, TenantsGetEqualSlotsAndThenNobodyIsPreempted) {
  Start({.slots = 6}, 64);
  for (const char* name : {"a", "b", "c"}) {
    Request request = Generation(2, 50);
    request.tenant = TenantOf(name);
    for (int i = 0; i < 9; ++i) Admit(request);
    for (int turn = 0; turn < 8; ++turn) ASSERT_TRUE(Turn().ok());
  }
  const int64_t preempted = executor_->stats().preemptions;
  EXPECT_EQ(preempted, 3 + 1 + 1) << "three of a's for b, then one of each for c";
  for (int turn = 0; turn < 10; ++turn) ASSERT_TRUE(Turn().ok());
  EXPECT_EQ(executor_->stats().preemptions, preempted);
}

TEST_F(ExecutorTest, AParkedSequenceCanBeCancelledStoppedOrRunOutOfTime) {
  for (const auto code :
       {absl::StatusCode::kCancelled, absl::StatusCode::kOk, absl::StatusCode::kDeadlineExceeded}) {
    Start({.slots = 2}, 16);
    Request request = Generation(9, 40);
    request.tenant = TenantOf("flood");
    Admit(request);
    request.deadline = now_ + absl::Seconds(100);
    const auto parked = Admit(request);
    for (int turn = 0; turn < 5; ++turn) ASSERT_TRUE(Turn().ok());
    Request other = Generation(2, 20);
    other.tenant = TenantOf("modest");
    const auto modest = Admit(other);
    for (int turn = 0; turn < 3; ++turn) ASSERT_TRUE(Turn().ok());
    ASSERT_GT(executor_->stats().pinned_bytes, 0);
    const std::vector<SampleResult> before = parked->results();
    ASSERT_GT(before.size(), 0);

    if (code == absl::StatusCode::kCancelled) executor_->Cancel(2);
    if (code == absl::StatusCode::kOk) executor_->Stop(2);
    if (code == absl::StatusCode::kDeadlineExceeded) now_ += absl::Seconds(100);
    ASSERT_TRUE(Turn().ok());
    ASSERT_TRUE(parked->done());
    EXPECT_EQ(parked->completion().status.code(), code);
    EXPECT_EQ(parked->results().size(), before.size());
    EXPECT_EQ(executor_->stats().pinned_bytes, 0);
    while (!executor_->idle()) ASSERT_TRUE(Turn().ok());
    EXPECT_TRUE(modest->completion().status.ok());
    now_ = absl::UnixEpoch();
  }
}

TEST_F(ExecutorTest, NobodyIsPreemptedBeyondTheMemoryForIt) {
  const FakeModelOptions options = {.slots = 2};
  control_ = std::make_shared<FakeModelControl>();
  ExecutorOptions executor_options;
  executor_options.state_cache.pinned_bytes = 8;
  executor_ =
      std::make_unique<Executor>(std::make_unique<FakeModel>(options, control_), executor_options,
                                 /*store=*/nullptr, [](const std::function<void()>&) {});
  Request request = Generation(9, 40);
  request.tenant = TenantOf("flood");
  for (int i = 0; i < 4; ++i) Admit(request);
  for (int turn = 0; turn < 5; ++turn) ASSERT_TRUE(Turn().ok());
  Request other = Generation(2, 1);
  other.tenant = TenantOf("modest");
  const auto modest = Admit(other);
  while (!modest->done()) ASSERT_TRUE(Turn().ok());
  EXPECT_EQ(executor_->stats().preemptions, 0);
  while (!executor_->idle()) ASSERT_TRUE(Turn().ok());
}

TEST_F(ExecutorTest, TheLongestQueueGivesWayWhenItIsTooLong) {
  Start({.slots = 1}, 16);
  std::vector<std::shared_ptr<RecordingSink>> flood;
  Request request = Generation(2, 40);
  request.tenant = TenantOf("flood");
  for (int i = 0; i < 4; ++i) flood.push_back(Admit(request));
  ASSERT_TRUE(Turn().ok());
  Request other = Generation(2, 40);
  other.tenant = TenantOf("modest");
  const auto modest = Admit(other);
  executor_->ShortenQueue(3);
  executor_->Deliver();
  ASSERT_TRUE(flood.back()->done()) << "the last that came";
  EXPECT_EQ(flood.back()->completion().status.code(), absl::StatusCode::kResourceExhausted);
  for (int i = 0; i < 3; ++i) EXPECT_FALSE(flood[i]->done());
  EXPECT_FALSE(modest->done());
}

}  // namespace
}  // namespace retnet
