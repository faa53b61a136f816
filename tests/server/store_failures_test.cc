// The real server on a snapshot store that fails: what is lost is told, in the log, by the health
// service and by the exit status.
#include <signal.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/engine/snapshots/redis_server.h"
#include "tests/server/retnetd.h"

namespace retnet {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

constexpr int kLost = 4;  // the exit status
const char kService[] = "retnet.store";

class StoreFailures : public ::testing::Test {
 protected:
  StoreFailures()
      : folder_(testing::TempDir() + "store_failures_test_" + std::to_string(getpid()) + "_" +
                testing::UnitTest::GetInstance()->current_test_info()->name()) {}
  ~StoreFailures() override { std::filesystem::remove_all(folder_); }

  std::vector<std::string> Flags() const { return {"--snapshot-store", "disk:" + folder_}; }

  static int32_t GoOn(const Retnetd& server, const std::string& session, int32_t max_tokens) {
    v1::GenerateRequest request = Prompt("Alice was", max_tokens);
    request.set_session_id(session);
    return Complete(request, server.NewStub().get()).session_tokens();
  }
  // A file where the owner's folder should be: nothing can be written, whoever writes.
  void Break() const {
    std::filesystem::rename(folder_ + "/owner-anonymous", folder_ + "/aside");
    std::ofstream(folder_ + "/owner-anonymous") << "in the way";
  }
  void Mend() const {
    std::filesystem::remove(folder_ + "/owner-anonymous");
    std::filesystem::rename(folder_ + "/aside", folder_ + "/owner-anonymous");
  }
  static void AwaitLog(const Retnetd& server, const std::string& text) {
    for (int i = 0; i < 3000; ++i) {
      if (server.process().error().find(text) != std::string::npos) return;
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    ADD_FAILURE() << "not logged: " << text << " in " << server.process().error();
  }
  static int End(Retnetd* server) {
    server->process().Signal(SIGTERM);
    return server->process().Wait();
  }

  const std::string folder_;
};

TEST_F(StoreFailures, AreToldAndMendedWithoutALoss) {
  int32_t tokens = 0;
  {
    Retnetd server(Flags());
    EXPECT_EQ(server.Health(kService), "SERVING");
    ASSERT_EQ(server.RunClient({"sessions", "create", "tale"}).exit_code, 0);
    while (!std::filesystem::exists(folder_ + "/owner-anonymous/tale.snapshot")) {
    }
    Break();
    tokens = GoOn(server, "tale", 20);
    AwaitLog(server, "snapshot store: cannot be written: ");
    EXPECT_THAT(server.process().error(), HasSubstr("1 session is not stored"));
    EXPECT_EQ(server.Health(kService), "NOT_SERVING");
    EXPECT_EQ(server.Health(), "SERVING") << "requests are answered as ever";
    Mend();
    AwaitLog(server, "snapshot store: can be written again");
    EXPECT_EQ(server.Health(kService), "SERVING");
    EXPECT_EQ(End(&server), 0) << server.process().error();
  }
  Retnetd next(Flags());
  EXPECT_THAT(next.RunClient({"sessions", "get", "tale"}).output,
              HasSubstr("\t" + std::to_string(tokens) + " tokens"));
}

TEST_F(StoreFailures, EndWithTheNumberOfSessionsLostAndAStatusOfTheirOwn) {
  Retnetd server(Flags());
  for (const std::string session : {"tale", "song"}) {
    ASSERT_EQ(server.RunClient({"sessions", "create", session}).exit_code, 0);
    while (!std::filesystem::exists(folder_ + "/owner-anonymous/" + session + ".snapshot")) {
    }
  }
  ASSERT_EQ(server.RunClient({"sessions", "create", "poem"}).exit_code, 0);
  while (!std::filesystem::exists(folder_ + "/owner-anonymous/poem.snapshot")) {
  }
  Break();
  GoOn(server, "tale", 20);
  GoOn(server, "song", 20);
  EXPECT_EQ(End(&server), kLost);
  EXPECT_THAT(server.process().error(),
              HasSubstr("could not be stored and end with this process: 2\n"));
  Mend();
  Retnetd next(Flags());
  EXPECT_THAT(next.RunClient({"sessions", "get", "tale"}).output, HasSubstr("\t0 tokens"))
      << "the old snapshot is as it was";
}

TEST_F(StoreFailures, OfAFileThatMayNotGrowAreNoSignal) {
  Process limited({"/bin/sh", "-c", "ulimit -f 4; exec \"$0\" \"$@\"", RETNETD_PATH, "--model",
                   ModelFolder(), "--listen", "127.0.0.1:0", "--snapshot-store",
                   "disk:" + folder_ + "/limited"});
  const std::string line = limited.ReadLine();
  const std::string address = line.substr(line.rfind(' ') + 1);
  Process made({RETNET_PATH, "--target", address, "generate", "--keep", "Alice was", "--max-tokens",
                "20", "--ignore-eos"});
  EXPECT_EQ(made.Wait(), 0) << made.error();
  limited.Signal(SIGTERM);
  EXPECT_EQ(limited.Wait(), kLost);
}

TEST_F(StoreFailures, AreNoMatterWithoutAStore) {
  Retnetd server;
  EXPECT_THAT(server.Health(kService), Not(HasSubstr("SERVING")));
  ASSERT_EQ(server.RunClient({"sessions", "create", "tale"}).exit_code, 0);
  GoOn(server, "tale", 5);
  EXPECT_EQ(End(&server), 0) << server.process().error();
}

// A call that asks for a new session, and is ended by the drain, leaves none.
TEST_F(StoreFailures, LeaveNoSessionThatWasMadeForACallWhichTheDrainEnds) {
  std::vector<std::string> flags = Flags();
  flags.insert(flags.end(), {"--drain-seconds", "0.1"});
  Retnetd server(flags);
  const auto stub = server.NewStub();
  grpc::ClientContext context;
  v1::GenerateRequest request = Prompt("Alice", 30000);
  request.set_keep(true);
  const auto reader = stub->Generate(&context, request);
  v1::GenerateResponse response;
  ASSERT_TRUE(reader->Read(&response));
  server.process().Signal(SIGTERM);
  while (reader->Read(&response)) {
  }
  EXPECT_EQ(reader->Finish().error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_EQ(server.process().Wait(), 0) << server.process().error();
  EXPECT_FALSE(std::filesystem::exists(folder_ + "/owner-anonymous"));
}

TEST_F(StoreFailures, OfARedisAtTheStartAreErrorsUnlessItIsOptional) {
  if (!RedisServer::Installed()) {
    GTEST_SKIP() << "there is no redis-server, which scripts/test.sh installs; nothing else shows "
                    "what it refuses";
  }
  RedisServer redis({"--requirepass", "p@ss/w:rd"});
  const std::string address = "127.0.0.1:" + std::to_string(redis.port());
  const auto refused = [&](const std::string& url) {
    Process process({RETNETD_PATH, "--model", ModelFolder(), "--listen", "127.0.0.1:0",
                     "--snapshot-store", url});
    EXPECT_EQ(process.Wait(), 1) << url;
    EXPECT_THAT(process.error(), HasSubstr("--snapshot-store-optional"));
    EXPECT_THAT(process.error(), Not(HasSubstr("hush")));
    return process.error();
  };
  EXPECT_THAT(refused("redis://" + address), HasSubstr("refused"));  // nobody listens yet
  redis.Start();
  EXPECT_THAT(refused("redis://" + address), HasSubstr("NOAUTH"));
  EXPECT_THAT(refused("redis://:hush@" + address), HasSubstr("WRONGPASS"));
  const std::string right = "redis://:p%40ss%2Fw%3Ard@" + address;
  {
    Retnetd server({"--snapshot-store", right});
    EXPECT_EQ(server.Health(kService), "SERVING");
    EXPECT_EQ(End(&server), 0) << server.process().error();
  }
  redis.Kill();
  Retnetd server({"--snapshot-store", right, "--snapshot-store-optional"});
  while (server.Health(kService) != "NOT_SERVING") {
  }
  EXPECT_THAT(server.process().error(), HasSubstr("sessions are in memory alone"));
  redis.Start();
  AwaitLog(server, "snapshot store: can be read again");
  EXPECT_EQ(server.Health(kService), "SERVING");
  EXPECT_EQ(End(&server), 0) << server.process().error();
}

}  // namespace
}  // namespace retnet
