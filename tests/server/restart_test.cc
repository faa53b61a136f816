// Sessions outlive the server's process.
#include <signal.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

#include "engine/snapshots/open_snapshot_store.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/engine/snapshots/redis_server.h"
#include "tests/server/retnetd.h"

namespace retnet {
namespace {

using ::testing::HasSubstr;

// A folder for snapshots that goes with the test.
class Restart : public ::testing::Test {
 protected:
  Restart()
      : folder_(testing::TempDir() + "restart_test_" + std::to_string(getpid()) + "_" +
                testing::UnitTest::GetInstance()->current_test_info()->name()) {}
  ~Restart() override { std::filesystem::remove_all(folder_); }

  std::vector<std::string> Flags() const { return {"--snapshot-store", "disk:" + folder_}; }

  static v1::GenerateRequest Greedy(const std::string& text, int32_t max_tokens) {
    v1::GenerateRequest request = Prompt(text, max_tokens);
    request.set_temperature(0);
    return request;
  }
  // Goes on with the session "tale".
  static std::string GoOn(const Retnetd& server, const std::string& text, int32_t max_tokens) {
    v1::GenerateRequest request = Greedy(text, max_tokens);
    request.set_session_id("tale");
    if (text.empty()) request.clear_prompt();
    const Generated generated = Generate(request, server.NewStub().get());
    EXPECT_TRUE(generated.status.ok()) << generated.status.error_message();
    return generated.text;
  }
  // What 100 tokens from "Alice was" are without any interruption.
  static std::string Whole(const Retnetd& server) {
    return Generate(Greedy("Alice was", 100), server.NewStub().get()).text;
  }
  // Until what is written has a state, as it has not after Create.
  void AwaitSnapshot() const {
    constexpr uintmax_t kWithoutState = 4096;
    const std::string file = folder_ + "/owner-anonymous/tale.snapshot";
    const auto size = [&] {
      std::error_code none_yet;
      const uintmax_t bytes = std::filesystem::file_size(file, none_yet);
      return none_yet ? 0 : bytes;
    };
    for (int i = 0; i < 2000 && size() <= kWithoutState; ++i) {
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    ASSERT_GT(size(), kWithoutState);
  }

  // A server writes behind its answer: returns when the store has another snapshot of "tale".
  static SnapshotStamp AwaitStamp(SnapshotStore* store, const SnapshotStamp& before) {
    SnapshotStamp stamp = before;
    for (int i = 0; i < 2000 && stamp == before; ++i) {
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
      stamp = store->Stamp({"anonymous", "tale"}).value_or("");
    }
    EXPECT_NE(stamp, before);
    return stamp;
  }

  const std::string folder_;
};

TEST_F(Restart, GoesOnAfterSigterm) {
  std::string text;
  {
    Retnetd first(Flags());
    ASSERT_EQ(first.RunClient({"sessions", "create", "tale", "--label", "who=me"}).exit_code, 0);
    text = GoOn(first, "Alice was", 70);
    first.process().Signal(SIGTERM);
    EXPECT_EQ(first.process().Wait(), 0);
  }
  Retnetd second(Flags());
  text += GoOn(second, "", 30);
  EXPECT_EQ(text, Whole(second));
  EXPECT_THAT(second.RunClient({"sessions", "get", "tale"}).output, HasSubstr("who=me"));
}

TEST_F(Restart, GoesOnAfterBeingKilled) {
  std::string text;
  {
    Retnetd first(Flags());
    ASSERT_EQ(first.RunClient({"sessions", "create", "tale"}).exit_code, 0);
    text = GoOn(first, "Alice was", 70);
    AwaitSnapshot();
    first.process().Signal(SIGKILL);
    EXPECT_EQ(first.process().Wait(), -SIGKILL);
  }
  Retnetd second(Flags());
  text += GoOn(second, "", 30);
  EXPECT_EQ(text, Whole(second));
}

// The next tokens are those that the killed one would have given.
TEST_F(Restart, AReplicaGoesOnWhereAKilledOneStopped) {
  if (!RedisServer::Installed())
    GTEST_SKIP() << "there is no redis-server; GoesOnAfterBeingKilled does it on a disk";
  RedisServer redis;
  redis.Start();
  const std::vector<std::string> flags = {"--snapshot-store", redis.url()};
  Retnetd first(flags);
  const Retnetd second(flags);
  ASSERT_EQ(first.RunClient({"sessions", "create", "tale"}).exit_code, 0);
  const auto store = OpenSnapshotStore(redis.url(), /*max_bytes=*/0).value();
  const SnapshotStamp before = AwaitStamp(store.get(), "");
  std::string text = GoOn(first, "Alice was", 70);
  AwaitStamp(store.get(), before);
  first.process().Signal(SIGKILL);
  EXPECT_EQ(first.process().Wait(), -SIGKILL);
  text += GoOn(second, "", 30);
  EXPECT_EQ(text, Whole(second));
}

// Each finds what the other has added, and what neither has computed itself.
TEST_F(Restart, TwoReplicasTakeTurnsOnASession) {
  if (!RedisServer::Installed()) {
    GTEST_SKIP() << "there is no redis-server, which scripts/test.sh installs; "
                    "SessionsTest.AreReadAgain… does it in one process";
  }
  RedisServer redis;
  redis.Start();
  const std::vector<std::string> flags = {"--snapshot-store", redis.url()};
  const Retnetd replicas[] = {Retnetd(flags), Retnetd(flags)};
  const Retnetd alone;
  const auto store = OpenSnapshotStore(redis.url(), /*max_bytes=*/0).value();
  ASSERT_EQ(replicas[0].RunClient({"sessions", "create", "tale"}).exit_code, 0);
  ASSERT_EQ(alone.RunClient({"sessions", "create", "tale"}).exit_code, 0);
  SnapshotStamp stamp = AwaitStamp(store.get(), "");
  for (int turn = 0; turn < 6; ++turn) {
    const std::string text = "Alice said: " + std::to_string(turn);
    EXPECT_EQ(GoOn(replicas[turn % 2], text, 20), GoOn(alone, text, 20));
    stamp = AwaitStamp(store.get(), stamp);
  }
  // A store that has gone keeps nobody from going on.
  redis.Kill();
  EXPECT_EQ(GoOn(replicas[1], "The end", 20), GoOn(alone, "The end", 20));
}

TEST_F(Restart, ListsWhatIsStored) {
  for (const bool first : {true, false}) {
    Retnetd server(Flags());
    if (first) {
      ASSERT_EQ(server.RunClient({"sessions", "create", "tale"}).exit_code, 0);
      ASSERT_EQ(server.RunClient({"sessions", "create", "song"}).exit_code, 0);
      GoOn(server, "Alice was", 10);
    }
    const std::string listed = server.RunClient({"sessions", "list"}).output;
    EXPECT_THAT(listed, HasSubstr("tale"));
    EXPECT_THAT(listed, HasSubstr("song"));
    server.process().Signal(SIGTERM);
    EXPECT_EQ(server.process().Wait(), 0);
  }
}

TEST_F(Restart, ForgetsWhatWasDeletedOrNotKept) {
  {
    Retnetd first(Flags());
    ASSERT_EQ(first.RunClient({"sessions", "create", "tale"}).exit_code, 0);
    GoOn(first, "Alice was", 10);
    AwaitSnapshot();
    ASSERT_EQ(first.RunClient({"sessions", "delete", "tale"}).exit_code, 0);
    ASSERT_EQ(first.RunClient({"generate", "Alice", "--max-tokens", "3"}).exit_code, 0);
    first.process().Signal(SIGTERM);
    EXPECT_EQ(first.process().Wait(), 0);
  }
  Retnetd second(Flags());
  EXPECT_EQ(second.RunClient({"sessions", "get", "tale"}).exit_code, 1);
  EXPECT_FALSE(std::filesystem::exists(folder_ + "/owner-anonymous/tale.snapshot"));
}

TEST_F(Restart, DoesNotStartOnAStoreThatIsNotThere) {
  for (const std::string store : {"disk:/proc/nowhere", "tape:1"}) {
    Process process({RETNETD_PATH, "--model", ModelFolder(), "--listen", "127.0.0.1:0",
                     "--snapshot-store", store});
    EXPECT_EQ(process.Wait(), 1);
    EXPECT_THAT(process.error(), HasSubstr("--snapshot-store " + store));
  }
}

}  // namespace
}  // namespace retnet
