// Sessions on the fake model, driven turn by turn.
#ifndef RETNET_TESTS_ENGINE_SESSIONS_SESSIONS_FIXTURE_H_
#define RETNET_TESTS_ENGINE_SESSIONS_SESSIONS_FIXTURE_H_

#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "engine/executor.h"
#include "engine/sessions/sessions.h"
#include "kernels/mutex.h"
#include "tests/engine/fake_model.h"
#include "tests/engine/recording_sink.h"
#include "tests/engine/snapshots/memory_store.h"

namespace retnet {

inline constexpr int32_t kContext = 120;

inline SessionKey Key(int i, const std::string& owner = "anna") {
  return {owner, absl::StrCat("s", i)};
}

// An engine's inside, driven by hand, that can crash and start again on what its store has.
class SessionsTest : public testing::Test {
 protected:
  void Start(const FakeModelOptions& options, const ExecutorOptions& executor, bool with_store) {
    options_ = options;
    executor_options_ = executor;
    control_ = std::make_shared<FakeModelControl>();
    auto model = std::make_unique<FakeModel>(options_, control_);
    if (with_store) {
      io_ = std::make_unique<SnapshotIo>(
          std::make_unique<MemoryStore>(&stored_, shared_store_),
          MakeSnapshotFormat(model->info(), StateEncoding::kExact, /*zstd_level=*/0, key_),
          1 << 30);
    }
    executor_ = std::make_unique<Executor>(std::move(model), executor, io_.get(),
                                           [this](std::function<void()> task) {
                                             const MutexLock lock(&mutex_);
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
    executor_->Admit(std::move(sequence));
    return sink;
  }

  void RunTasks() {
    std::vector<std::function<void()>> tasks;
    {
      const MutexLock lock(&mutex_);
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
  absl::StatusOr<std::vector<SessionInfo>> List(const std::string& owner,
                                                const std::string& after = "",
                                                int32_t limit = 100) {
    return Call<std::vector<SessionInfo>>(
        [&](Sessions& sessions, const Reply<std::vector<SessionInfo>>& reply) {
          sessions.List(owner, after, limit, reply);
        });
  }
  absl::StatusOr<SessionInfo> Rewind(const SessionKey& key, int32_t tokens) {
    return Call<SessionInfo>([&](Sessions& sessions, const Reply<SessionInfo>& reply) {
      sessions.Rewind(key, {retnet::Rewind::Counts::kKept, tokens}, absl::Now(), reply);
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

  // What is to be written has been.
  void AwaitStored() {
    TurnUntil([&] { return executor_->idle() && !executor_->transferring(); });
    ASSERT_TRUE(io_->Flush(absl::InfiniteFuture()).ok());
    RunTasks();
  }

  // Appends to a session, greedily; the answer, which must come.
  std::vector<TokenId> GoOn(const SessionKey& key, std::vector<TokenId> prompt) {
    Request request = Generation(key, std::move(prompt), 5);
    request.sampling.temperature = 0.0f;
    const auto sink = Submit(std::move(request));
    TurnUntil([&] { return sink->done(); });
    EXPECT_TRUE(sink->completion().status.ok()) << sink->completion().status;
    return sink->tokens();
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
  bool shared_store_ = false;
  const SnapshotKey* key_ = nullptr;  // of the store's snapshots
  MemoryStore::Entries stored_;       // may be looked into after AwaitStored
  Mutex mutex_;
  std::vector<std::function<void()>> tasks_ ABSL_GUARDED_BY(mutex_);
  std::unique_ptr<SnapshotIo> io_;
  std::unique_ptr<Executor> executor_;
  RequestId next_id_ = 1;
};

}  // namespace retnet

#endif  // RETNET_TESTS_ENGINE_SESSIONS_SESSIONS_FIXTURE_H_
