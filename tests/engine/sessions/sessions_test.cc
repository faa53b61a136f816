#include "engine/sessions/sessions.h"

#include <gtest/gtest.h>

#include <set>
#include <string>
#include <vector>

#include "tests/engine/sessions/sessions_fixture.h"

namespace retnet {
namespace {

// Ten thousand sessions come and go, some kept for a while, some by their TTL: nothing is left.
TEST_F(SessionsTest, LeakNeitherSlotsNorBytes) {
  FakeModelOptions options;
  options.slots = 4;
  ExecutorOptions executor;
  executor.max_rows = 16;
  executor.state_cache.host_bytes = 2000;
  Start(options, executor, /*with_store=*/false);
  for (int i = 0; i < 10000; ++i) {
    const SessionKey key = Key(i);
    ASSERT_TRUE(Create(key).ok());
    Request request = Generation(key, {1, static_cast<TokenId>(i % 97), 3, 4, 5}, 3);
    request.keep = i % 3 != 0;
    const auto sink = Submit(request);
    TurnUntil([&] { return sink->done(); });
    ASSERT_TRUE(sink->completion().status.ok());
    const int gone = i % 3 == 1 ? i : i - 30;
    if (i % 3 != 0 && gone >= 0) {
      ASSERT_TRUE(Delete(Key(gone)).ok());
    }
    ASSERT_LE(executor_->stats().host_state_bytes, 2000);
    ASSERT_LE(executor_->stats().sessions, 12);
  }
  for (int i = 9970; i < 10000; ++i) {
    if (i % 3 == 2) {
      ASSERT_TRUE(Delete(Key(i)).ok());
    }
  }
  EXPECT_GT(executor_->stats().cached_prefixes, 0);
  executor_->Close();
  EXPECT_EQ(executor_->stats().sessions, 0);
  EXPECT_EQ(executor_->stats().parked_slots, 0);
  EXPECT_EQ(executor_->stats().free_slots, options.slots);
  EXPECT_EQ(executor_->stats().host_state_bytes, 0);
  EXPECT_EQ(executor_->stats().cached_prefix_bytes, 0);
}

// A cancelled prompt is not computed again as far as it was in flight.
TEST_F(SessionsTest, KeepWhatWasInFlightWhenARequestIsCancelled) {
  FakeModelOptions options;
  options.chunk = 4;
  options.steps_in_flight = 2;
  Start(options, {.max_rows = 8}, /*with_store=*/false);
  const SessionKey key = Key(1);
  ASSERT_TRUE(Create(key).ok());
  const RequestId id = next_id_;
  const auto sink = Submit(Generation(key, std::vector<TokenId>(40, 1), 3));
  ASSERT_TRUE(Turn().ok());
  ASSERT_EQ(control_->step_count(), 2);
  executor_->Cancel(id);
  const auto info = Get(key);
  ASSERT_TRUE(info.ok()) << info.status();
  EXPECT_EQ(info->state_tokens, 16);
  EXPECT_EQ(info->tokens, 17) << "and the pending one";
}

TEST_F(SessionsTest, AreForgottenWhenTheirTimeHasCome) {
  Start({}, {.max_rows = 16}, /*with_store=*/true);
  const SessionKey key = Key(1);
  ASSERT_TRUE(Call<SessionInfo>([&](Sessions& sessions, const Reply<SessionInfo>& reply) {
                sessions.Create({.key = key, .ttl = absl::Seconds(60), .labels = {}}, absl::Now(),
                                reply);
              }).ok());
  const auto sink = Submit(Generation(key, {1, 2}, 2));
  TurnUntil([&] { return sink->done(); });
  executor_->Prepare(absl::Now() + absl::Seconds(30));
  ASSERT_TRUE(Get(key).ok());
  executor_->Prepare(absl::Now() + absl::Seconds(61));
  EXPECT_TRUE(absl::IsNotFound(Get(key).status())) << "nor has the store it";
}

TEST_F(SessionsTest, AreNotFoundByOtherOwners) {
  Start({}, {.max_rows = 16}, /*with_store=*/true);
  ASSERT_TRUE(Create(Key(1, "anna")).ok());
  EXPECT_TRUE(absl::IsNotFound(Get(Key(1, "ben")).status()));
  EXPECT_TRUE(absl::IsNotFound(Delete(Key(1, "ben")).status()));
  EXPECT_TRUE(absl::IsNotFound(Fork(Key(1, "ben"), {"copy"}).status()));
  const auto sink = Submit(Generation(Key(1, "ben"), {1}, 2));
  TurnUntil([&] { return sink->done(); });
  EXPECT_TRUE(absl::IsNotFound(sink->completion().status));

  // Nor does a prompt tell what others have sent: nothing of it is cached for them.
  const std::vector<TokenId> prompt(14, 7);
  int32_t cached[3];
  int i = 0;
  for (const std::string owner : {"anna", "ben", "anna"}) {
    const auto asked = Submit(Generation({owner, ""}, prompt, 1));
    TurnUntil([&] { return asked->done(); });
    cached[i++] = asked->completion().usage.cached_tokens;
  }
  EXPECT_EQ(cached[0], 0);
  EXPECT_EQ(cached[1], 0);
  EXPECT_EQ(cached[2], 12);
}

// While the store is asked for an id, calls on it wait; each finds what those before it have left.
TEST_F(SessionsTest, AreMadeOnceThoughTwoAskForTheSameIdAtOnce) {
  Start({}, {.max_rows = 16}, /*with_store=*/true);
  std::vector<absl::StatusOr<SessionInfo>> answers;
  const auto reply = [&](absl::StatusOr<SessionInfo> info) { answers.push_back(std::move(info)); };
  Sessions& sessions = executor_->sessions();
  sessions.Create({.key = Key(1), .labels = {{"made", "first"}}}, absl::Now(), reply);
  sessions.Create({.key = Key(1), .labels = {{"made", "second"}}}, absl::Now(), reply);
  sessions.Get(Key(1), reply);
  ASSERT_TRUE(answers.empty());
  TurnUntil([&] { return answers.size() == 3; });
  EXPECT_TRUE(answers[0].ok()) << answers[0].status();
  EXPECT_TRUE(absl::IsAlreadyExists(answers[1].status())) << answers[1].status();
  ASSERT_TRUE(answers[2].ok()) << answers[2].status();
  EXPECT_EQ(answers[2]->labels.at("made"), "first");
}

// An id that was free when the store was asked for it may be taken before the others are answered.
TEST_F(SessionsTest, AreNotReplacedByAForkThatWaitsForTheStore) {
  Start({}, {.max_rows = 16}, /*with_store=*/true);
  ASSERT_TRUE(Create(Key(1)).ok());
  std::vector<absl::StatusOr<std::vector<SessionInfo>>> forks;
  executor_->sessions().Fork(
      Key(1), {"a", "b"}, absl::Now(),
      [&](absl::StatusOr<std::vector<SessionInfo>> infos) { forks.push_back(std::move(infos)); });
  ASSERT_TRUE(Create({"anna", "a"}).ok());
  TurnUntil([&] { return !forks.empty(); });
  EXPECT_TRUE(absl::IsAlreadyExists(forks[0].status())) << forks[0].status();
  EXPECT_TRUE(absl::IsNotFound(Get({"anna", "b"}).status())) << "all or none";
}

std::vector<std::string> IdsOf(const absl::StatusOr<std::vector<SessionInfo>>& infos) {
  std::vector<std::string> ids;
  for (const SessionInfo& info : *infos) ids.push_back(info.key.id);
  return ids;
}

using Ids = std::vector<std::string>;

TEST_F(SessionsTest, AreListedFromMemoryAndStoreAlike) {
  Start({}, {.max_rows = 16}, /*with_store=*/true);
  for (const int i : {1, 3, 5}) ASSERT_TRUE(Create(Key(i)).ok());
  ASSERT_TRUE(Create(Key(2, "ben")).ok());
  GoOn(Key(3), {1, 2, 3});
  Crash();
  for (const int i : {2, 4}) ASSERT_TRUE(Create(Key(i)).ok());
  ASSERT_TRUE(Get(Key(5)).ok());
  EXPECT_EQ(executor_->stats().sessions, 3);
  EXPECT_EQ(IdsOf(List("anna")), (Ids{"s1", "s2", "s3", "s4", "s5"}));
  EXPECT_EQ(IdsOf(List("anna", "", 2)), (Ids{"s1", "s2"}));
  EXPECT_EQ(IdsOf(List("anna", "s2", 2)), (Ids{"s3", "s4"}));
  EXPECT_EQ(IdsOf(List("anna", "s5")), Ids{});
  EXPECT_EQ(IdsOf(List("ben")), (Ids{"s2"}));
  EXPECT_EQ(IdsOf(List("ann")), Ids{});
  const SessionInfo stored = List("anna", "s2", 1)->front();
  EXPECT_EQ(stored.tokens, 8);
  EXPECT_EQ(stored.state_tokens, 7);
  EXPECT_EQ(stored.tier, StateTier::kStore);
  EXPECT_EQ(executor_->stats().sessions, 3) << "none is loaded";
}

TEST_F(SessionsTest, AreReadAgainWhenAnotherServerWentOnWithThem) {
  shared_store_ = true;
  Start({}, {.max_rows = 16}, /*with_store=*/true);
  const SessionKey key = Key(1);
  ASSERT_TRUE(Create(key).ok());
  GoOn(key, {1, 2, 3});
  AwaitStored();
  const std::string others = stored_[key];
  GoOn(key, {4, 5});
  AwaitStored();
  EXPECT_EQ(Get(key)->tokens, 15);
  stored_[key] = others;
  EXPECT_EQ(Get(key)->tokens, 8);
  const std::vector<TokenId> answer = GoOn(key, {6});
  AwaitStored();
  Crash();
  EXPECT_EQ(Get(key)->tokens, 14);
  EXPECT_EQ(io_->stats().conflicts, 0);

  // The same as with nobody else.
  ASSERT_TRUE(Create(Key(2)).ok());
  GoOn(Key(2), {1, 2, 3});
  EXPECT_EQ(GoOn(Key(2), {6}), answer);
}

// Two servers go on at the same time: one write is refused, and the loser says so once.
TEST_F(SessionsTest, ThatLoseATurnSayItAtTheirNextUse) {
  shared_store_ = true;
  Start({}, {.max_rows = 16}, /*with_store=*/true);
  const SessionKey key = Key(1);
  ASSERT_TRUE(Create(key).ok());
  GoOn(key, {1, 2, 3});
  AwaitStored();
  const std::string others = stored_[key];
  GoOn(key, {4, 5});
  AwaitStored();
  const auto sink = Submit(Generation(key, {6}, 5));
  TurnUntil([&] { return executor_->stats().running == 1; });
  ASSERT_TRUE(io_->Flush(absl::InfiniteFuture()).ok());
  stored_[key] = others;
  TurnUntil([&] { return sink->done(); });
  EXPECT_TRUE(sink->completion().status.ok());
  AwaitStored();
  EXPECT_EQ(stored_[key], others);
  EXPECT_EQ(io_->stats().conflicts, 1);

  const auto next = Submit(Generation(key, {7}, 5));
  TurnUntil([&] { return next->done(); });
  EXPECT_TRUE(absl::IsAborted(next->completion().status)) << next->completion().status;
  EXPECT_EQ(Get(key)->tokens, 8);
  GoOn(key, {7});
  AwaitStored();
  EXPECT_NE(stored_[key], others);
  EXPECT_EQ(io_->stats().conflicts, 1);
}

TEST_F(SessionsTest, OfAStoreThatOthersWriteDoNotTakeItsCopyWithThemWhenTheyExpire) {
  shared_store_ = true;
  Start({}, {.max_rows = 16}, /*with_store=*/true);
  ASSERT_TRUE(Call<SessionInfo>([&](Sessions& sessions, const Reply<SessionInfo>& reply) {
                sessions.Create({.key = Key(1), .ttl = absl::Seconds(60), .labels = {}},
                                absl::Now(), reply);
              }).ok());
  executor_->Prepare(absl::Now() + absl::Seconds(61));
  EXPECT_EQ(executor_->stats().sessions, 0);
  AwaitStored();
  EXPECT_EQ(stored_.size(), 1);
}

// Each counts from what the ones before it have left.
TEST_F(SessionsTest, AreRewoundByWhatIsLeftWhenItsTurnComes) {
  Start({}, {.max_rows = 16}, /*with_store=*/false);
  const SessionKey key = Key(1);
  ASSERT_TRUE(Create(key).ok());
  GoOn(key, {1, 2, 3, 4, 5});
  std::vector<absl::StatusOr<SessionInfo>> answers;
  for (const int32_t tokens : {2, 3, 6, 5}) {
    executor_->sessions().Rewind(key, {retnet::Rewind::Counts::kDropped, tokens}, absl::Now(),
                                 [&](const auto& info) { answers.push_back(info); });
  }
  ASSERT_EQ(answers.size(), 4);
  EXPECT_EQ(answers[0]->tokens, 8);
  EXPECT_EQ(answers[1]->tokens, 5);
  EXPECT_TRUE(absl::IsOutOfRange(answers[2].status()));
  EXPECT_EQ(answers[3]->tokens, 0);
}

PromptHead BosIfFirst(const TokenHistory& history) {
  return {.history = {},
          .prompt = history.empty() ? std::vector<TokenId>{1} : std::vector<TokenId>()};
}

TEST_F(SessionsTest, BeginWithTheHeadOnceWhoeverComesFirst) {
  Start({}, {.max_rows = 16}, /*with_store=*/false);
  ASSERT_TRUE(Create(Key(1)).ok());
  const auto request = [&](std::vector<TokenId> prompt) {
    Request request = Generation(Key(1), std::move(prompt), 3);
    request.sampling.temperature = 0.0f;
    request.wait_for_session = true;
    return request;
  };
  Request first = request({5, 6, 7, 8});
  first.head = BosIfFirst;
  first.cache_boundaries = {3};
  Request second = request({9});
  second.head = BosIfFirst;
  const auto sinks = {Submit(first), Submit(second)};
  TurnUntil([&] { return sinks.begin()[1]->done(); });
  EXPECT_EQ(sinks.begin()[0]->completion().usage.prompt_tokens, 5);
  EXPECT_EQ(sinks.begin()[1]->completion().session_tokens, 1 + 4 + 3 + 1 + 3);

  ASSERT_TRUE(Create(Key(2)).ok());
  first = request({1, 5, 6, 7, 8});
  second = request({9});
  first.session = second.session = Key(2);
  const auto plain = {Submit(first), Submit(second)};
  TurnUntil([&] { return plain.begin()[1]->done(); });
  for (const int i : {0, 1}) EXPECT_EQ(plain.begin()[i]->tokens(), sinks.begin()[i]->tokens());
}

// Stopped anywhere, a session has the whole prompt and what was said, and goes on as one that has
// been given both.
TEST_F(SessionsTest, KeepPromptAndAnswerOfWhatIsStopped) {
  ExecutorOptions executor;
  executor.max_rows = 3;
  executor.state_manager.prefix_cache = false;
  Start({}, executor, /*with_store=*/false);
  const std::vector<TokenId> prompt = {5, 6, 7, 8, 9, 10, 11, 12, 13, 14};
  std::set<bool> answered;
  for (int turns = 0; turns < 9; ++turns) {
    const SessionKey key = Key(turns);
    ASSERT_TRUE(Create(key).ok());
    Request request = Generation(key, prompt, 50);
    request.sampling.temperature = 0.0f;
    const RequestId id = next_id_;
    const auto sink = Submit(std::move(request));
    for (int i = 0; i < turns; ++i) ASSERT_TRUE(Turn().ok());
    executor_->Stop(id);
    TurnUntil([&] { return sink->done(); });
    const Completion completion = sink->completion();
    EXPECT_TRUE(completion.status.ok()) << completion.status;
    EXPECT_EQ(completion.reason, FinishReason::kStopped);
    std::vector<TokenId> history = prompt;
    for (const TokenId token : sink->tokens()) history.push_back(token);
    answered.insert(history.size() > prompt.size());
    EXPECT_EQ(completion.session_tokens, history.size());
    const std::vector<TokenId> rest = GoOn(key, {3});
    history.push_back(3);
    ASSERT_TRUE(Create(Key(100 + turns)).ok());
    EXPECT_EQ(GoOn(Key(100 + turns), history), rest);
  }
  EXPECT_EQ(answered.size(), 2) << "it is to be stopped within the prompt and behind it";
}

// A request that waits for a slot may be about to go on from a cached prefix, which has seen some
// of its prompt. When it is cancelled, the prompt is not the session's, and nor may that state be.
TEST_F(SessionsTest, DoNotKeepTheStateOfAPromptThatWasCancelled) {
  FakeModelOptions options;
  options.slots = 1;
  Start(options, {.max_rows = 16}, /*with_store=*/false);
  ASSERT_TRUE(Create(Key(1)).ok());
  std::vector<TokenId> history = {1, 2, 3};
  for (const TokenId token : GoOn(Key(1), history)) history.push_back(token);
  const std::vector<TokenId> prompt(20, 11);
  std::vector<TokenId> whole = history;
  whole.insert(whole.end(), prompt.begin(), prompt.end());
  const auto cached = Submit(Generation({"anna", ""}, whole, 1));
  TurnUntil([&] { return cached->done(); });

  const RequestId running = next_id_;
  Submit(Generation({"anna", ""}, {50, 51}, 80));
  ASSERT_TRUE(Turn().ok());
  const RequestId waiting = next_id_;
  Submit(Generation(Key(1), prompt, 5));
  ASSERT_TRUE(Turn().ok());
  EXPECT_EQ(executor_->stats().waiting, 1);
  executor_->Cancel(waiting);
  executor_->Cancel(running);
  EXPECT_LT(Get(Key(1))->state_tokens, history.size());

  const std::vector<TokenId> other(20, 12);
  history.insert(history.end(), other.begin(), other.end());
  ASSERT_TRUE(Create(Key(2)).ok());
  EXPECT_EQ(GoOn(Key(1), other), GoOn(Key(2), history));
}

TEST_F(SessionsTest, KeepThePromptOfWhatIsStoppedBeforeItsTurn) {
  Start({}, {.max_rows = 16}, /*with_store=*/false);
  ASSERT_TRUE(Create(Key(1)).ok());
  const auto first = Submit(Generation(Key(1), {1, 2, 3}, 5));
  Request request = Generation(Key(1), {4, 5}, 5);
  request.wait_for_session = true;
  const RequestId id = next_id_;
  const auto second = Submit(std::move(request));
  executor_->Stop(id);
  EXPECT_FALSE(second->done());
  TurnUntil([&] { return second->done(); });
  EXPECT_TRUE(first->done());
  EXPECT_EQ(second->completion().reason, FinishReason::kStopped);
  EXPECT_EQ(second->completion().usage.completion_tokens, 0);
  EXPECT_EQ(Get(Key(1))->tokens, 3 + 5 + 2);
}

}  // namespace
}  // namespace retnet
