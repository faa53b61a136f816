// The real server with streams that are closed or whose reader goes away, and its signals.
#include <fcntl.h>
#include <grpcpp/client_context.h>
#include <signal.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <string>
#include <thread>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/server/retnetd.h"

namespace retnet {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

// A folder for snapshots that goes with the test.
class Signals : public ::testing::Test {
 protected:
  Signals()
      : folder_(testing::TempDir() + "signals_test_" + std::to_string(getpid()) + "_" +
                testing::UnitTest::GetInstance()->current_test_info()->name()) {}
  ~Signals() override { std::filesystem::remove_all(folder_); }

  std::vector<std::string> Flags() const { return {"--snapshot-store", "disk:" + folder_}; }

  // Begins a stream of `max_tokens` tokens; it has begun when this returns.
  void StartStream(const Retnetd& server, int32_t max_tokens, const std::string& session = "") {
    stub_ = server.NewStub();
    v1::GenerateRequest request = Prompt("Alice", max_tokens);
    request.set_session_id(session);
    reader_ = stub_->Generate(&context_, request);
    v1::GenerateResponse response;
    ASSERT_TRUE(reader_->Read(&response));
  }
  // Reads the rest. Returns the session's tokens; -1 for a stream without its final message.
  int32_t ReadToTheEnd() {
    v1::GenerateResponse response;
    while (reader_->Read(&response)) {
    }
    EXPECT_TRUE(reader_->Finish().ok());
    return response.has_final() ? response.final().session_tokens() : -1;
  }

  const std::string folder_;
  std::unique_ptr<v1::Generation::Stub> stub_;
  grpc::ClientContext context_;
  std::unique_ptr<grpc::ClientReader<v1::GenerateResponse>> reader_;
};

TEST_F(Signals, DrainsAsEverWhenTheReaderOfItsLogHasGone) {
  int32_t tokens = 0;
  {
    int pipe_ends[2];
    ASSERT_EQ(pipe(pipe_ends), 0);
    ASSERT_EQ(fcntl(pipe_ends[0], F_SETFD, FD_CLOEXEC), 0);  // the server reads no log of its own
    const std::string end = std::to_string(pipe_ends[1]);
    Retnetd server(Flags(), 8, ModelFolder(), "2>&" + end + " " + end + ">&-");
    close(pipe_ends[0]);
    close(pipe_ends[1]);
    ASSERT_EQ(server.RunClient({"sessions", "create", "tale"}).exit_code, 0);
    StartStream(server, 3000, "tale");
    server.process().Signal(SIGTERM);  // which is logged
    tokens = ReadToTheEnd();
    EXPECT_GT(tokens, 3000);
    EXPECT_EQ(server.process().Wait(), 0);
  }
  const Retnetd next(Flags());
  EXPECT_THAT(next.RunClient({"sessions", "get", "tale"}).output,
              HasSubstr("\t" + std::to_string(tokens) + " tokens"));
}

TEST_F(Signals, IsNotEndedBySigpipe) {
  Retnetd server;
  StartStream(server, 2000);
  server.process().Signal(SIGPIPE);
  EXPECT_EQ(ReadToTheEnd(), 0);
  server.process().Signal(SIGTERM);
  EXPECT_EQ(server.process().Wait(), 0) << server.process().error();
}

TEST_F(Signals, GoesOnAfterSighupAndSaysSo) {
  Retnetd server;
  StartStream(server, 2000);
  server.process().Signal(SIGHUP);
  EXPECT_EQ(ReadToTheEnd(), 0);
  for (int i = 0; i < 2000 && server.process().error().find("SIGHUP") == std::string::npos; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  EXPECT_THAT(server.process().error(), HasSubstr("SIGHUP: "));
  EXPECT_EQ(server.Health(), "SERVING");
  server.process().Signal(SIGTERM);
  EXPECT_EQ(server.process().Wait(), 0) << server.process().error();
}

// What the files of a folder hold, in a row.
std::string ContentOf(const std::string& folder) {
  std::string content;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder)) {
    if (!entry.is_regular_file()) continue;
    std::ifstream file(entry.path(), std::ios::binary);
    content.append(std::istreambuf_iterator<char>(file), {});
  }
  return content;
}

TEST_F(Signals, WritesIntoNoFileWhatIsMeantForAClosedStream) {
  for (const std::string closed : {"1>&- 2>&-", "0<&- 1>&- 2>&-", "2>&-", "1>&-"}) {
    Process server({"/bin/sh", "-c", "exec \"$0\" \"$@\" " + closed, RETNETD_PATH, "--model",
                    ModelFolder(), "--listen", "127.0.0.1:0", "--snapshot-store",
                    "disk:" + folder_});
    // Its signals are taken by then, so that it starts to its end before it drains.
    while (!std::filesystem::exists(folder_ + "/lock")) {
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    server.Signal(SIGTERM);
    EXPECT_EQ(server.Wait(), 0) << closed;
    EXPECT_THAT(ContentOf(folder_), Not(HasSubstr("listening"))) << closed;
    EXPECT_THAT(ContentOf(folder_), Not(HasSubstr("drained"))) << closed;
    std::filesystem::remove_all(folder_);
  }
}

TEST_F(Signals, AClientWithoutAStandardOutputWritesIntoNoFile) {
  const Retnetd server;
  ASSERT_EQ(server.RunClient({"sessions", "create", "tale"}).exit_code, 0);
  std::filesystem::create_directory(folder_);
  const std::string file = folder_ + "/tale";
  Process client({"/bin/sh", "-c", "exec \"$0\" \"$@\" 1>&- 2>&-", RETNET_PATH, "--target",
                  server.address(), "sessions", "export", "tale", "--file", file});
  EXPECT_EQ(client.Wait(), 0);
  EXPECT_EQ(server.RunClient({"sessions", "import", "copy", "--file", file}).exit_code, 0);
}

}  // namespace
}  // namespace retnet
