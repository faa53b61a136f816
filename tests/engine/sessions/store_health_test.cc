// Sessions over a store that fails, answers late, or both: nothing is lost without a word.
#include "engine/sessions/store_health.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <condition_variable>
#include <functional>
#include <future>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "engine/engine.h"
#include "tests/engine/fake_model.h"
#include "tests/engine/recording_sink.h"
#include "tests/engine/snapshots/controlled_store.h"

namespace retnet {
namespace {

using Kind = StoreEvent::Kind;
using ::testing::HasSubstr;

const absl::Status kGone = absl::UnavailableError("the store has gone");

// An engine on a store that the test controls, and what it tells of that.
class StoreHealthTest : public testing::Test {
 protected:
  void Start(EngineOptions options = {}) {
    engine_ = nullptr;
    auto model = std::make_unique<FakeModel>(FakeModelOptions(), model_);
    engine_ = std::make_unique<Engine>(std::move(model), options,
                                       std::make_unique<ControlledStore>(&store_),
                                       [this](const StoreEvent& event) {
                                         const std::lock_guard lock(mutex_);
                                         events_.push_back(event);
                                         told_.notify_all();
                                       });
  }
  void TearDown() override {
    store_.Release();
    engine_ = nullptr;
  }

  // The next event of this kind with such a status, from the one behind the last one asked for.
  StoreEvent Await(Kind kind, absl::StatusCode code) {
    std::unique_lock lock(mutex_);
    while (true) {
      for (; seen_ < events_.size(); ++seen_) {
        if (events_[seen_].kind == kind && events_[seen_].status.code() == code) {
          return events_[seen_++];
        }
      }
      told_.wait(lock);
    }
  }
  template <typename T>
  absl::StatusOr<T> Ask(const std::function<void(Reply<T>)>& call) {
    auto answer = std::make_shared<std::promise<absl::StatusOr<T>>>();
    auto future = answer->get_future();
    call([answer](absl::StatusOr<T> result) { answer->set_value(std::move(result)); });
    return future.get();
  }
  absl::StatusOr<SessionInfo> Create(const std::string& id) {
    return Ask<SessionInfo>([&](Reply<SessionInfo> reply) {
      engine_->CreateSession({.key = {"anna", id}, .labels = {}}, std::move(reply));
    });
  }
  absl::StatusOr<SessionInfo> Get(const std::string& id) {
    return Ask<SessionInfo>([&](Reply<SessionInfo> reply) {
      engine_->GetSession({"anna", id}, std::move(reply));
    });
  }
  absl::Status GoOn(const std::string& id) {
    Request request;
    request.session = {"anna", id};
    request.prompt = {1, 2, 3};
    request.max_tokens = 4;
    const auto sink = std::make_shared<RecordingSink>();
    const auto submitted = engine_->Submit(std::move(request), sink);
    if (!submitted.ok()) return submitted.status();
    sink->AwaitDone();
    return sink->completion().status;
  }
  void AwaitCall(const std::string& call) {
    while (true) {
      const std::vector<std::string> calls = store_.calls();
      if (std::find(calls.begin(), calls.end(), call) != calls.end()) return;
      absl::SleepFor(absl::Milliseconds(1));
    }
  }

  StoreControl store_;
  std::shared_ptr<FakeModelControl> model_ = std::make_shared<FakeModelControl>();
  std::mutex mutex_;
  std::condition_variable told_;
  std::vector<StoreEvent> events_;  // guarded by mutex_
  size_t seen_ = 0;                 // of them, by Await
  std::unique_ptr<Engine> engine_;
};

TEST_F(StoreHealthTest, TellsAFailureAtOnceAndTriesAgainByItself) {
  Start();
  ASSERT_TRUE(Create("a").ok());
  AwaitCall("put a");
  store_.Fail(kGone);
  ASSERT_TRUE(GoOn("a").ok());
  const StoreEvent failure = Await(Kind::kWrites, absl::StatusCode::kUnavailable);
  EXPECT_THAT(failure.status.message(), HasSubstr("has gone"));
  EXPECT_EQ(failure.sessions_not_stored, 1);
  Await(Kind::kWrites, absl::StatusCode::kUnavailable);  // it was tried again
  EXPECT_FALSE(engine_->stats().store_writable);
  EXPECT_EQ(engine_->stats().sessions_not_stored, 1);

  store_.Fail(absl::OkStatus());
  EXPECT_EQ(Await(Kind::kWrites, absl::StatusCode::kOk).sessions_not_stored, 0);
  EXPECT_TRUE(engine_->Drain(absl::InfiniteFuture()));
  EXPECT_EQ(engine_->stats().sessions_not_stored, 0);
  EXPECT_TRUE(engine_->stats().store_writable);
}

TEST_F(StoreHealthTest, WritesAllThatWaitedOnceTheStoreIsBack) {
  Start();
  store_.Fail(kGone);
  constexpr int kSessions = 20;
  for (int i = 0; i < kSessions; ++i) {
    engine_->CreateSession({.key = {"anna", ""}, .labels = {}}, [](const auto&) {});
  }
  while (engine_->stats().sessions_not_stored < kSessions) absl::SleepFor(absl::Milliseconds(1));
  store_.Fail(absl::OkStatus());
  while (engine_->stats().sessions_not_stored > 0) absl::SleepFor(absl::Milliseconds(1));
  engine_ = nullptr;
  EXPECT_EQ(store_.bytes().size(), kSessions);
}

TEST_F(StoreHealthTest, TellsWhetherAStoreThatOthersWriteCanBeReadAtAll) {
  store_.Fail(kGone);
  Start();
  Await(Kind::kReads, absl::StatusCode::kUnavailable);
  store_.Fail(absl::OkStatus());
  Await(Kind::kReads, absl::StatusCode::kOk);  // though nobody asks for anything
}

TEST_F(StoreHealthTest, TellsOfADamagedSnapshotAndCallsTheStoreHealthy) {
  store_.bytes()[{"anna", "a"}] = "not a snapshot";
  Start();
  EXPECT_TRUE(absl::IsDataLoss(Get("a").status()));
  EXPECT_EQ(Await(Kind::kRefused, absl::StatusCode::kDataLoss).session.id, "a");
  EXPECT_TRUE(engine_->stats().store_readable);
}

TEST_F(StoreHealthTest, CountsWhatADrainCouldNotStore) {
  Start();
  ASSERT_TRUE(Create("a").ok());
  AwaitCall("put a");
  store_.Fail(absl::ResourceExhaustedError("no space is left"));
  engine_->CreateSession({.key = {"anna", ""}, .labels = {}}, [](const auto&) {});
  ASSERT_TRUE(GoOn("a").ok());
  EXPECT_TRUE(engine_->Drain(absl::InfiniteFuture()));
  EXPECT_EQ(engine_->stats().sessions_not_stored, 2);
  EXPECT_EQ(engine_->stats().sessions_lost, 0);
}

TEST_F(StoreHealthTest, CountsWhatIsStillBeingWrittenWhenADrainEnds) {
  EngineOptions options;
  options.store_grace = absl::Milliseconds(100);
  Start(options);
  ASSERT_TRUE(Create("a").ok());
  AwaitCall("put a");
  store_.Hold();
  ASSERT_TRUE(GoOn("a").ok());
  EXPECT_TRUE(engine_->Drain(absl::Now() + absl::Seconds(1)));
  EXPECT_EQ(engine_->stats().sessions_not_stored, 1);
}

TEST_F(StoreHealthTest, DoesNotKeepASessionInMemoryWaitingForAnAnswer) {
  Start();
  ASSERT_TRUE(Create("a").ok());
  AwaitCall("put a");
  store_.Hold();
  EXPECT_TRUE(GoOn("a").ok());  // the store is asked, and does not answer
  for (int i = 0; i < 100; ++i) EXPECT_TRUE(Get("a").ok());
  EXPECT_TRUE(GoOn("a").ok());
  store_.Release();
  // What comes late changes nothing.
  EXPECT_TRUE(GoOn("a").ok());
  EXPECT_EQ(Get("a")->tokens, 3 * 7);
  EXPECT_TRUE(engine_->Drain(absl::InfiniteFuture()));
  EXPECT_EQ(engine_->stats().sessions_not_stored, 0);
  EXPECT_EQ(engine_->stats().snapshots.conflicts, 0);
}

TEST_F(StoreHealthTest, FindsAtTheWriteThatAnotherServerWentOnWhenTheAnswerCameLate) {
  Start();
  ASSERT_TRUE(Create("a").ok());
  AwaitCall("put a");
  ASSERT_TRUE(Create("b").ok());  // what was written before is done
  AwaitCall("put b");
  ASSERT_TRUE(Get("b").ok());
  store_.Hold();
  EXPECT_TRUE(GoOn("a").ok());
  store_.AwaitStopped();
  // The other server's: nobody else looks at the entries while the store is held.
  store_.bytes()[{"anna", "a"}] = store_.bytes()[{"anna", "b"}];
  store_.Release();
  Await(Kind::kConflict, absl::StatusCode::kAborted);
  EXPECT_TRUE(absl::IsAborted(GoOn("a")));
}

TEST_F(StoreHealthTest, LetsNoSessionGoThatAFailingStoreDoesNotHave) {
  EngineOptions options;
  options.executor.sessions.max_kept = 2;
  Start(options);
  store_.Fail(kGone);
  engine_->CreateSession({.key = {"anna", ""}, .labels = {}}, [](const auto&) {});
  engine_->CreateSession({.key = {"anna", ""}, .labels = {}}, [](const auto&) {});
  Await(Kind::kWrites, absl::StatusCode::kUnavailable);
  const auto refused = Ask<SessionInfo>([&](Reply<SessionInfo> reply) {
    engine_->CreateSession({.key = {"anna", ""}, .labels = {}}, std::move(reply));
  });
  EXPECT_TRUE(absl::IsResourceExhausted(refused.status())) << refused.status();
  EXPECT_THAT(refused.status().message(), HasSubstr("the snapshot store cannot be written"));
  EXPECT_EQ(engine_->stats().sessions, 2);
}

TEST_F(StoreHealthTest, SaysWhichSessionIsLostThatLeftMemoryWhileItWasWritten) {
  EngineOptions options;
  options.executor.sessions.max_kept = 1;
  Start(options);
  ASSERT_TRUE(Create("a").ok());
  AwaitCall("put a");
  while (engine_->stats().snapshots.written < 1) absl::SleepFor(absl::Milliseconds(1));
  store_.Hold();
  ASSERT_TRUE(GoOn("a").ok());
  // Leaves only when it is being given to the store.
  bool made = false;
  while (!made) {
    made = Ask<SessionInfo>([&](Reply<SessionInfo> reply) {
             engine_->CreateSession({.key = {"anna", ""}, .labels = {}}, std::move(reply));
           }).ok();
  }
  store_.Fail(kGone);
  store_.Release();
  EXPECT_EQ(Await(Kind::kLost, absl::StatusCode::kUnavailable).session.id, "a");
  EXPECT_TRUE(engine_->Drain(absl::InfiniteFuture()));
  EXPECT_EQ(engine_->stats().sessions_lost, 1);
}

TEST_F(StoreHealthTest, DeletesWhatACallMadeThatADrainEnds) {
  Start();
  ASSERT_TRUE(Create("a").ok());
  EXPECT_TRUE(engine_->Drain(absl::InfiniteFuture()));
  EXPECT_TRUE(absl::IsUnavailable(Create("b").status()));
  EXPECT_TRUE(Ask<SessionInfo>([&](Reply<SessionInfo> reply) {
                engine_->DeleteSession({"anna", "a"}, std::move(reply));
              }).ok());
  engine_ = nullptr;
  EXPECT_TRUE(store_.bytes().empty());
}

TEST(StoreHealth, TriesAgainLessAndLessOftenUntilAWriteSucceeds) {
  StoreHealth health(/*listener=*/nullptr);
  absl::Time now = absl::UnixEpoch();
  EXPECT_EQ(health.next_retry(), absl::InfiniteFuture());
  absl::Duration last = absl::ZeroDuration();
  for (int i = 0; i < 10; ++i) {
    health.OnWrite({}, kGone, now);
    health.SetNotStored({"anna", "a"}, now);
    const absl::Duration pause = health.next_retry() - now;
    EXPECT_GE(pause, last);
    EXPECT_LE(pause, StoreHealth::kLongestPause);
    last = pause;
    now = health.next_retry();
    health.BeginRetry();
    EXPECT_TRUE(health.TakeRetry().has_value());
    EXPECT_FALSE(health.TakeRetry().has_value());
  }
  EXPECT_EQ(last, StoreHealth::kLongestPause);
  EXPECT_EQ(health.not_stored(), 1);
  health.ClearNotStored({"anna", "a"});
  health.OnWrite({}, absl::OkStatus(), now);
  EXPECT_EQ(health.not_stored(), 0);
  EXPECT_EQ(health.next_retry(), absl::InfiniteFuture());
  health.OnWrite({}, kGone, now);
  EXPECT_EQ(health.next_retry(), now + StoreHealth::kFirstPause);
}

TEST(StoreHealth, TakesOneRefusedSnapshotAndAFullQueueForNoFailure) {
  StoreHealth health(/*listener=*/nullptr);
  const absl::Time now = absl::UnixEpoch();
  for (const absl::Status& status : {absl::DataLossError(""), absl::FailedPreconditionError(""),
                                     absl::NotFoundError(""), absl::InvalidArgumentError("")}) {
    health.OnRead({}, status, now);
    EXPECT_TRUE(health.readable()) << status;
  }
  health.OnRead({}, absl::PermissionDeniedError(""), now);
  EXPECT_FALSE(health.readable());
  health.OnWrite({}, absl::AbortedError(""), now);
  EXPECT_TRUE(health.writable());
  EXPECT_TRUE(health.readable()) << "the store answers";
  health.OnWrite({}, absl::CancelledError(""), now);
  EXPECT_TRUE(health.writable());
  health.OnWrite({}, absl::ResourceExhaustedError(""), now);
  EXPECT_FALSE(health.writable());
}

}  // namespace
}  // namespace retnet
