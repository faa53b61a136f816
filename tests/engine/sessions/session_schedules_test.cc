// Random schedules of everything that sessions can do, against one-shot answers.
#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <random>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/engine/oracle.h"
#include "tests/engine/sessions/sessions_fixture.h"

namespace retnet {
namespace {

// Histories as they must be, and the requests that run on them.
struct World {
  struct Running {
    Request request;
    TokenHistory before;
    std::shared_ptr<RecordingSink> sink;
    bool Busies() const {
      return !request.session.id.empty() && request.kind != RequestKind::kScore;
    }
  };

  std::map<SessionKey, TokenHistory> sessions;
  std::vector<Running> running;
  std::map<SessionKey, int> busy;
};

class SessionSchedulesTest : public SessionsTest, public testing::WithParamInterface<int> {
 protected:
  // What the request gave is what it gives one-shot; and the session is what it must be.
  void Check(const World::Running& done) {
    const Completion completion = done.sink->completion();
    const Expected expected = ExpectedOf(options_, done.request, kContext, done.before);
    std::vector<SampleResult> answers = done.sink->results();
    if (completion.status.ok()) {
      ASSERT_EQ(completion.reason, expected.reason);
      ASSERT_TRUE(SameResults(answers, expected.results));
    } else {
      ASSERT_TRUE(absl::IsCancelled(completion.status)) << completion.status;
      ASSERT_LE(answers.size(), expected.results.size());
      ASSERT_TRUE(SameResults(answers, std::span(expected.results).first(answers.size())));
    }
    if (!done.Busies()) return;
    --world_.busy[done.request.session];
    TokenHistory history = done.before;
    history.Append(done.request.prompt, RowClass::kPrompt);
    for (const SampleResult& answer : answers) history.Append(answer.token, RowClass::kSampled);
    ASSERT_LE(completion.session_tokens, history.size());
    if (completion.status.ok()) {
      ASSERT_EQ(completion.session_tokens, done.request.keep ? history.size() : 0);
    } else if (completion.session_tokens == 0 && Get(done.request.session).ok()) {
      return;  // it ended before its turn, and nothing has changed
    } else {
      ASSERT_GE(completion.session_tokens, done.request.keep ? done.before.size() : 0);
    }
    history.Truncate(completion.session_tokens);
    if (done.request.keep) {
      world_.sessions[done.request.session] = std::move(history);
    } else {
      world_.sessions.erase(done.request.session);
    }
  }

  void CheckEnded() {
    // A check may take turns, in which others end.
    size_t ended = 1;
    while (ended > 0) {
      ended = std::erase_if(world_.running, [this](const World::Running& running) {
        if (!running.sink->done()) return false;
        Check(running);
        return true;
      });
    }
  }

  SessionKey AnyIdle() {
    for (const auto& [key, history] : world_.sessions) {
      if (world_.busy[key] == 0 && random_() % 3 == 0) return key;
    }
    return {};
  }

  std::vector<TokenId> Prompt(int32_t most) {
    std::vector<TokenId> prompt(random_() % (most + 1));
    // Few beginnings, so that prompts share them.
    const TokenId first = random_() % 2;
    for (size_t i = 0; i < prompt.size(); ++i) {
      prompt[i] = i < 12 ? first : static_cast<TokenId>(random_() % options_.vocab_size);
    }
    return prompt;
  }

  void SubmitRandom() {
    const SessionKey key = random_() % 4 == 0 ? SessionKey{"anna", ""} : AnyIdle();
    Request request = RandomRequest(options_, kContext, random_);
    const TokenHistory before = key.id.empty() ? TokenHistory() : world_.sessions[key];
    request.session = key;
    if (key.owner.empty()) request.session.owner = "anna";
    request.prompt = Prompt(std::max(0, std::min(40, kContext - 35 - before.size())));
    if (request.kind == RequestKind::kGenerate && !key.id.empty() && random_() % 4 == 0) {
      request.kind = RequestKind::kPrefill;
    }
    if (request.prompt.empty() && (before.empty() || request.kind == RequestKind::kScore)) return;
    if (before.size() + request.prompt.size() + 1 >= kContext) return;
    request.keep = random_() % 8 != 0;
    request.max_draft_tokens = guesses_ && random_() % 2 == 0 ? random_() % 6 : 0;
    if (random_() % 3 == 0) {
      request.cache_boundaries = {static_cast<int32_t>(request.prompt.size() / 2)};
    }
    const int32_t samples =
        request.kind == RequestKind::kGenerate && key.id.empty() ? 1 + random_() % 3 : 1;
    request.samples = samples;
    const RequestId first = next_id_;
    for (int32_t i = 0; i < samples; ++i) {
      request.sampling.seed = random_();
      request.sample_of = i == 0 ? 0 : first;
      if (i > 0) request.samples = 1;
      World::Running running{request, before, Submit(request)};
      if (running.Busies()) ++world_.busy[key];
      world_.running.push_back(std::move(running));
    }
  }

  void ChangeASession() {
    const SessionKey key = AnyIdle();
    if (key.id.empty()) return;
    TokenHistory& history = world_.sessions[key];
    switch (random_() % 3) {
      case 0: {
        const std::string id = absl::StrCat("fork", next_id_++);
        ASSERT_TRUE(Fork(key, {id}).ok());
        world_.sessions[{key.owner, id}] = history;
        break;
      }
      case 1: {
        // Often within the tail.
        const int32_t most = random_() % 2 == 0 ? history.size() : std::min(history.size(), 4);
        const int32_t tokens = history.size() - random_() % (most + 1);
        const auto info = Rewind(key, tokens);
        ASSERT_TRUE(info.ok()) << info.status();
        ASSERT_EQ(info->tokens, tokens);
        history.Truncate(tokens);
        break;
      }
      case 2:
        ASSERT_TRUE(Delete(key).ok());
        world_.sessions.erase(key);
        break;
    }
    CheckEnded();
  }

  void CrashAndForget() {
    for (const World::Running& running : world_.running) world_.busy[running.request.session] = 0;
    world_.running.clear();
    Crash();
  }

  void RunSchedule(bool with_store) {
    for (int turn = 0; turn < 160; ++turn) {
      if (random_() % 10 == 0 && world_.sessions.size() < 8) {
        const SessionKey key = Key(next_id_++);
        ASSERT_TRUE(Create(key).ok());
        world_.sessions[key] = TokenHistory();
      }
      if (random_() % 2 == 0) SubmitRandom();
      if (random_() % 6 == 0) ChangeASession();
      if (random_() % 12 == 0) executor_->Cancel(1 + random_() % next_id_);
      ASSERT_TRUE(Turn().ok()) << testing::PrintToString(control_->violations());
      CheckEnded();
      if (HasFatalFailure()) return;
      if (with_store && random_() % 40 == 0) CrashAndForget();
    }
    TurnUntil([this] { return executor_->idle(); });
    CheckEnded();
    ASSERT_TRUE(world_.running.empty());
  }

  std::mt19937 random_;
  bool guesses_ = false;  // some requests; steps are then seldom launched ahead
  World world_;
};

// Whatever is split, batched, forked, rewound, evicted, restored, guessed ahead or lost in a crash,
// every answer is the one-shot answer; in the end nothing is held.
TEST_P(SessionSchedulesTest, AnyScheduleEqualsOneShot) {
  random_.seed(GetParam());
  FakeModelOptions options;
  options.vocab_size = 5;  // guesses come true
  options.slots = 1 + random_() % 6;
  options.max_rows = 1 + random_() % 20;
  options.chunk = 1 + random_() % 8;
  options.slow_transfers = random_() % 3 == 0;
  options.class_sensitive = random_() % 2 == 0;
  options.steps_in_flight = 1 + GetParam() % 2;
  guesses_ = GetParam() % 4 < 3;
  ExecutorOptions executor;
  executor.max_rows = 1 + random_() % options.max_rows;
  executor.state_manager.deterministic = options.class_sensitive;
  executor.state_manager.prefix_cache = random_() % 4 != 0;
  executor.state_cache.host_bytes = random_() % 3 == 0 ? 0 : 50 << (random_() % 8);
  const bool with_store = random_() % 2 == 0;
  if (with_store && random_() % 2 == 0) executor.sessions.max_kept = 40;
  shared_store_ = with_store && random_() % 2 == 0;
  Start(options, executor, with_store);
  RunSchedule(with_store);
  if (HasFatalFailure()) return;
  for (const auto& [key, history] : world_.sessions) {
    const auto info = Get(key);
    ASSERT_TRUE(info.ok()) << info.status();
    ASSERT_EQ(info->tokens, history.size());
    ASSERT_TRUE(Delete(key).ok());
  }
  executor_->Close();
  EXPECT_EQ(executor_->stats().free_slots, options.slots);
  EXPECT_EQ(executor_->stats().parked_slots, 0);
  EXPECT_EQ(executor_->stats().host_state_bytes, 0);
  EXPECT_EQ(executor_->stats().sessions, 0);
}

INSTANTIATE_TEST_SUITE_P(Seeds, SessionSchedulesTest, testing::Range(0, 120));

}  // namespace
}  // namespace retnet
