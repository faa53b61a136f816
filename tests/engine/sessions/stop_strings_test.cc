// What a stop string leaves of an answer in its session.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "engine/sessions/sessions.h"
#include "tests/engine/sessions/sessions_fixture.h"

namespace retnet {
namespace {

// What a stop string takes back is not in the history, wherever it lies: within the tail, at a
// fold, or behind one, where the state has to be computed again. With the prefix cache and without.
TEST_F(SessionsTest, TakeBackWhatAStopStringReachesIntoAtEveryOffsetFromAFold) {
  for (const bool prefix_cache : {true, false}) {
    for (const int32_t in_flight : {1, 2}) {
      FakeModelOptions options;
      options.steps_in_flight = in_flight;
      ExecutorOptions executor;
      executor.max_rows = 7;
      executor.state_manager.prefix_cache = prefix_cache;
      Start(options, executor, /*with_store=*/false);
      const int32_t chunk = options.chunk;
      const std::vector<TokenId> prompt = {5, 6, 7};
      int session = 0;
      for (int32_t length = 1; length <= 3 * chunk; ++length) {
        for (int32_t dropped = 0; dropped <= length; ++dropped) {
          const SessionKey key = Key(++session);
          ASSERT_TRUE(Create(key).ok());
          Request request = Generation(key, prompt, 100);
          request.sampling.temperature = 0.0f;
          const CutToken cut{.token = 9, .bytes = 2};
          request.stop = [length, dropped, cut, count = 0](TokenId) mutable {
            StopDecision decision(++count == length);
            decision.dropped_tokens = decision.stops ? dropped : 0;
            decision.cut = dropped > 0 ? cut : CutToken();
            return decision;
          };
          const auto sink = Submit(std::move(request));
          TurnUntil([&] { return sink->done(); });
          ASSERT_EQ(sink->tokens().size(), length);
          std::vector<TokenId> history = prompt;
          const std::vector<TokenId> answer = sink->tokens();
          history.insert(history.end(), answer.begin(), answer.end() - dropped);
          ASSERT_EQ(sink->completion().session_tokens, history.size());
          EXPECT_EQ(sink->completion().usage.completion_tokens, length);

          Request next = Generation(key, {3}, 5);
          next.sampling.temperature = 0.0f;
          CutToken seen;
          next.head = [&](const TokenHistory& session) {
            seen = session.cut();
            return PromptHead{.history = {4}, .prompt = {}};
          };
          const auto rest = Submit(std::move(next));
          TurnUntil([&] { return rest->done(); });
          ASSERT_TRUE(rest->completion().status.ok()) << rest->completion().status;
          EXPECT_EQ(seen, dropped > 0 ? cut : CutToken());
          history.push_back(4);
          history.push_back(3);
          const SessionKey plain = Key(++session);
          ASSERT_TRUE(Create(plain).ok());
          ASSERT_EQ(GoOn(plain, history), rest->tokens()) << length << " " << dropped;
          ASSERT_TRUE(Delete(key).ok());
          ASSERT_TRUE(Delete(plain).ok());
        }
      }
      executor_->Close();
    }
  }
}

// Forks have it too; a rewind forgets it, and a request that adds nothing after all does not.
TEST_F(SessionsTest, HaveACutTokenUntilSomethingIsAdded) {
  Start({}, {.max_rows = 16}, /*with_store=*/false);
  const CutToken cut{.token = 9, .bytes = 2};
  const auto cut_of = [&](const SessionKey& key) {
    CutToken seen;
    Request score = Generation(key, {3, 4}, 1);
    score.kind = RequestKind::kScore;
    score.head = [&](const TokenHistory& history) {
      seen = history.cut();
      return PromptHead();
    };
    const auto sink = Submit(std::move(score));
    TurnUntil([&] { return sink->done(); });
    return seen;
  };
  ASSERT_TRUE(Create(Key(1)).ok());
  Request request = Generation(Key(1), {5, 6, 7}, 10);
  request.stop = [cut](TokenId) {
    StopDecision decision(true);
    decision.dropped_tokens = 1;
    decision.cut = cut;
    return decision;
  };
  const auto sink = Submit(std::move(request));
  TurnUntil([&] { return sink->done(); });
  EXPECT_EQ(cut_of(Key(1)), cut);
  ASSERT_TRUE(Fork(Key(1), {"s2", "s3"}).ok());
  EXPECT_EQ(cut_of(Key(2)), cut);
  ASSERT_TRUE(Rewind(Key(2), 3).ok());
  EXPECT_EQ(cut_of(Key(2)), cut);
  ASSERT_TRUE(Rewind(Key(2), 2).ok());
  EXPECT_EQ(cut_of(Key(2)), CutToken());
  const RequestId cancelled = next_id_;
  Submit(Generation(Key(3), {8}, 10));
  executor_->Cancel(cancelled);
  EXPECT_EQ(cut_of(Key(3)), cut);
  GoOn(Key(3), {8});
  EXPECT_EQ(cut_of(Key(3)), CutToken());
}

}  // namespace
}  // namespace retnet
