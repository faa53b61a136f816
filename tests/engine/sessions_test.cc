#include "engine/sessions.h"

#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <mutex>
#include <random>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "engine/executor.h"
#include "tests/engine/fake_model.h"
#include "tests/engine/memory_store.h"
#include "tests/engine/oracle.h"
#include "tests/engine/recording_sink.h"

namespace retnet {
namespace {

constexpr int32_t kContext = 120;

SessionKey Key(int i, const std::string& owner = "anna") { return {owner, absl::StrCat("s", i)}; }

// An engine's inside, driven by hand, that can crash and start again on what its store has.
class SessionsTest : public testing::Test {
 protected:
  void Start(const FakeModelOptions& options, ExecutorOptions executor, bool with_store) {
    options_ = options;
    executor_options_ = executor;
    control_ = std::make_shared<FakeModelControl>();
    auto model = std::make_unique<FakeModel>(options_, control_);
    if (with_store) {
      io_ = std::make_unique<SnapshotIo>(
          std::make_unique<MemoryStore>(&stored_),
          MakeSnapshotFormat(model->info(), AtRest::kExact, /*zstd_level=*/0), 1 << 30);
    }
    executor.sessions.store = io_.get();
    executor_ =
        std::make_unique<Executor>(std::move(model), executor, [this](std::function<void()> task) {
          std::lock_guard lock(mutex_);
          tasks_.push_back(std::move(task));
        });
  }

  // What is in memory is lost; what was being written is written.
  void Crash() {
    executor_->Close();
    ASSERT_TRUE(io_->Flush(absl::InfiniteFuture()).ok());
    io_.reset();
    RunTasks();
    executor_.reset();
    tasks_.clear();
    Start(options_, executor_options_, /*with_store=*/true);
  }

  void TearDown() override {
    executor_->Close();
    io_.reset();
  }

  std::shared_ptr<RecordingSink> Submit(Request request) {
    auto sink = std::make_shared<RecordingSink>();
    auto sequence = std::make_unique<Sequence>(std::move(request), sink, kContext, absl::Now());
    sequence->set_id(next_id_++);
    executor_->Admit(std::move(sequence), absl::Now());
    return sink;
  }

  void RunTasks() {
    std::vector<std::function<void()>> tasks;
    {
      std::lock_guard lock(mutex_);
      tasks.swap(tasks_);
    }
    for (const auto& task : tasks) task();
  }

  absl::Status Turn() {
    RunTasks();
    executor_->Prepare(absl::Now());
    if (executor_->stalled()) absl::SleepFor(absl::Microseconds(50));  // for transfers to end
    absl::Status status = executor_->Step();
    executor_->Deliver();
    return status;
  }

  template <typename Done>
  void TurnUntil(Done done) {
    for (int turn = 0; !done(); ++turn) {
      ASSERT_LT(turn, 100000);
      ASSERT_TRUE(Turn().ok()) << testing::PrintToString(control_->violations());
    }
  }

  // Calls and waits for the answer.
  template <typename T>
  absl::StatusOr<T> Call(const std::function<void(Sessions&, const Reply<T>&)>& call) {
    absl::StatusOr<T> answer = absl::UnknownError("no answer");
    bool done = false;
    call(executor_->sessions(), [&](absl::StatusOr<T> result) {
      answer = std::move(result);
      done = true;
    });
    TurnUntil([&] { return done; });
    return answer;
  }
  absl::StatusOr<SessionInfo> Create(const SessionKey& key) {
    return Call<SessionInfo>([&](Sessions& sessions, const Reply<SessionInfo>& reply) {
      sessions.Create({.key = key, .labels = {}}, absl::Now(), reply);
    });
  }
  absl::StatusOr<SessionInfo> Get(const SessionKey& key) {
    return Call<SessionInfo>(
        [&](Sessions& sessions, const Reply<SessionInfo>& reply) { sessions.Get(key, reply); });
  }
  absl::StatusOr<SessionInfo> Rewind(const SessionKey& key, int32_t tokens) {
    return Call<SessionInfo>([&](Sessions& sessions, const Reply<SessionInfo>& reply) {
      sessions.Rewind(key, tokens, absl::Now(), reply);
    });
  }
  absl::StatusOr<SessionInfo> Delete(const SessionKey& key) {
    return Call<SessionInfo>(
        [&](Sessions& sessions, const Reply<SessionInfo>& reply) { sessions.Delete(key, reply); });
  }
  absl::StatusOr<std::vector<SessionInfo>> Fork(const SessionKey& key,
                                                std::vector<std::string> ids) {
    return Call<std::vector<SessionInfo>>(
        [&](Sessions& sessions, const Reply<std::vector<SessionInfo>>& reply) {
          sessions.Fork(key, ids, absl::Now(), reply);
        });
  }

  Request Generation(const SessionKey& key, std::vector<TokenId> prompt, int32_t max_tokens) {
    Request request;
    request.session = key;
    request.prompt = std::move(prompt);
    request.max_tokens = max_tokens;
    request.sampling.seed = next_id_;
    return request;
  }

  FakeModelOptions options_;
  ExecutorOptions executor_options_;
  std::shared_ptr<FakeModelControl> control_;
  MemoryStore::Entries stored_;
  std::mutex mutex_;
  std::vector<std::function<void()>> tasks_;  // guarded by mutex_
  std::unique_ptr<SnapshotIo> io_;
  std::unique_ptr<Executor> executor_;
  RequestId next_id_ = 1;
};

// Histories as they must be, and the requests that run on them.
class World {
 public:
  struct Running {
    Request request;
    History before;
    std::shared_ptr<RecordingSink> sink;
    bool Busies() const {
      return !request.session.id.empty() && request.kind != RequestKind::kScore;
    }
  };

  std::map<SessionKey, History> sessions;
  std::vector<Running> running;
  std::map<SessionKey, int> busy;
};

class SessionSchedulesTest : public SessionsTest, public testing::WithParamInterface<int> {
 protected:
  // What the request gave is what it gives one-shot; and the session is what it must be.
  void Check(const World::Running& done) {
    const Completion completion = done.sink->completion();
    const Expected expected = ExpectedOf(options_, done.request, kContext, done.before);
    std::vector<LogitsAnswer> answers = done.sink->answers();
    if (completion.status.ok()) {
      ASSERT_EQ(completion.reason, expected.reason);
      ASSERT_TRUE(SameAnswers(answers, expected.answers));
    } else {
      ASSERT_TRUE(absl::IsCancelled(completion.status)) << completion.status;
      ASSERT_LE(answers.size(), expected.answers.size());
      ASSERT_TRUE(SameAnswers(answers, std::span(expected.answers).first(answers.size())));
    }
    if (!done.Busies()) return;
    --world_.busy[done.request.session];
    History history = done.before;
    history.Append(done.request.prompt, RowClass::kGiven);
    for (const LogitsAnswer& answer : answers) history.Append(answer.token, RowClass::kSampled);
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
    const History before = key.id.empty() ? History() : world_.sessions[key];
    request.session = key;
    if (key.owner.empty()) request.session.owner = "anna";
    request.prompt = Prompt(std::max(0, std::min(40, kContext - 35 - before.size())));
    if (request.kind == RequestKind::kGenerate && !key.id.empty() && random_() % 4 == 0) {
      request.kind = RequestKind::kPrefill;
    }
    if (request.prompt.empty() && (before.empty() || request.kind == RequestKind::kScore)) return;
    if (before.size() + request.prompt.size() + 1 >= kContext) return;
    request.keep = random_() % 8 != 0;
    request.max_draft_tokens = random_() % 2 == 0 ? random_() % 6 : 0;
    if (random_() % 3 == 0)
      request.cache_boundaries = {static_cast<int32_t>(request.prompt.size() / 2)};
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
    History& history = world_.sessions[key];
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
        world_.sessions[key] = History();
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
  ExecutorOptions executor;
  executor.max_rows = 1 + random_() % options.max_rows;
  executor.states.deterministic = options.class_sensitive;
  executor.states.prefix_cache = random_() % 4 != 0;
  executor.states.host_bytes = random_() % 3 == 0 ? 0 : 50 << (random_() % 8);
  const bool with_store = random_() % 2 == 0;
  if (with_store && random_() % 2 == 0) executor.sessions.max_kept = 40;
  Start(options, executor, with_store);
  RunSchedule(with_store);
  if (HasFatalFailure()) return;
  for (const auto& [key, history] : world_.sessions) {
    const auto info = Get(key);
    ASSERT_TRUE(info.ok()) << info.status();
    ASSERT_EQ(info->tokens, history.size());
    ASSERT_TRUE(Delete(key).ok());
  }
  executor_->ClearCache();
  TurnUntil([this] { return !executor_->transferring(); });
  EXPECT_EQ(executor_->stats().free_slots, options.slots);
  EXPECT_EQ(executor_->stats().resting_slots, 0);
  EXPECT_EQ(executor_->stats().host_state_bytes, 0);
  EXPECT_EQ(executor_->stats().sessions, 0);
}

// Ten thousand sessions come and go, some kept for a while, some by their TTL: nothing is left.
TEST_F(SessionsTest, LeakNeitherSlotsNorBytes) {
  FakeModelOptions options;
  options.slots = 4;
  ExecutorOptions executor;
  executor.max_rows = 16;
  executor.states.host_bytes = 2000;
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
  executor_->ClearCache();
  executor_->Prepare(absl::Now());
  EXPECT_EQ(executor_->stats().sessions, 0);
  EXPECT_EQ(executor_->stats().resting_slots, 0);
  EXPECT_EQ(executor_->stats().free_slots, options.slots);
  EXPECT_EQ(executor_->stats().host_state_bytes, 0);
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

INSTANTIATE_TEST_SUITE_P(Seeds, SessionSchedulesTest, testing::Range(0, 120));

}  // namespace
}  // namespace retnet
