// The real server as a process, real clients over a socket, a real model.
#include "tests/server/process.h"

#include <grpcpp/client_context.h>
#include <signal.h>

#include <chrono>
#include <future>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/server/retnetd.h"

namespace retnet {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::SizeIs;

// Far more than any test waits for.
constexpr int32_t kEndless = 30000;

TEST(Retnetd, PrintsOneLineAndExitsWith0OnSigterm) {
  Retnetd server;
  EXPECT_EQ(server.address().substr(0, 10), "127.0.0.1:");
  EXPECT_NE(server.address(), "127.0.0.1:0");
  EXPECT_EQ(server.Health(), "SERVING");
  server.process().Signal(SIGTERM);
  EXPECT_EQ(server.process().Wait(), 0) << server.process().error();
  EXPECT_EQ(server.process().output(), "listening on " + server.address() + "\n");
}

TEST(Retnetd, StreamsTokensOneByOne) {
  Retnetd server;
  const auto stub = server.NewStub();
  grpc::ClientContext context;
  const auto reader = stub->Generate(&context, Prompt("Alice was", kEndless));
  v1::GenerateResponse response;
  // Tokens come while the sample runs, which ends only by being cancelled here.
  for (int i = 1; i <= 50;) {
    ASSERT_TRUE(reader->Read(&response));
    for (const v1::Token& token : response.chunk().tokens()) {
      ASSERT_EQ(token.completion_tokens(), i++);
    }
  }
  context.TryCancel();
  while (reader->Read(&response)) ASSERT_FALSE(response.has_final());
  EXPECT_EQ(reader->Finish().error_code(), grpc::StatusCode::CANCELLED);
}

TEST(Retnetd, Gives64StreamsExactlyWhatEachGivesAlone) {
  Retnetd server;
  const auto request = [](int i) {
    const std::string story = "Alice was beginning to get very tired of sitting by her sister";
    v1::GenerateRequest request = Prompt(story.substr(0, 1 + i % story.size()), 1 + i * 37 % 64);
    request.set_seed(i);
    request.set_temperature(i % 3 == 0 ? 0 : 1);
    return request;
  };
  const auto stub = server.NewStub();
  std::vector<Generated> alone;
  for (int i = 0; i < 64; ++i) alone.push_back(Generate(request(i), stub.get()));
  std::vector<std::future<Generated>> together;
  for (int i = 0; i < 64; ++i) {
    together.push_back(
        std::async(std::launch::async, [&, i] { return Generate(request(i), stub.get()); }));
  }
  for (int i = 0; i < 64; ++i) {
    const Generated generated = together[i].get();
    ASSERT_TRUE(generated.status.ok()) << generated.status.error_message();
    EXPECT_THAT(generated.ids, SizeIs(request(i).max_tokens()));
    EXPECT_EQ(generated.ids, alone[i].ids);
    EXPECT_EQ(generated.text, alone[i].text);
  }
}

TEST(Retnetd, IsNotHarmedByAClientKilledMidStream) {
  Retnetd server({}, /*sequences=*/1);
  Process client(server.Client({"generate", "Alice", "--max-tokens", "30000", "--ignore-eos"}));
  EXPECT_NE(client.ReadSome(), "");
  client.Signal(SIGKILL);
  // The only session is free again.
  EXPECT_TRUE(Generate(Prompt("Alice", 3), server.NewStub().get()).status.ok());
}

TEST(Retnetd, IsNotHarmedByAClientThatNeverReads) {
  Retnetd server({}, /*sequences=*/2);
  // Nobody reads its output, so it stops reading its answers.
  Process client(server.Client(
      {"generate", "Alice", "--max-tokens", "30000", "--ignore-eos", "--logprobs", "9"}));
  const auto stub = server.NewStub();
  const Generated alone = Generate(Prompt("Alice", 40), stub.get());
  for (int i = 0; i < 20; ++i) {
    const Generated generated = Generate(Prompt("Alice", 40), stub.get());
    ASSERT_TRUE(generated.status.ok()) << generated.status.error_message();
    ASSERT_EQ(generated.ids, alone.ids);
  }
  server.process().Signal(SIGTERM);
  client.Signal(SIGKILL);
  EXPECT_EQ(server.process().Wait(), 0) << server.process().error();
}

grpc::Status Refusal(const v1::GenerateRequest& request, const Retnetd& server) {
  grpc::ClientContext context;
  v1::CompleteResponse response;
  return server.NewStub()->Complete(&context, request, &response);
}

TEST(Retnetd, RefusesBadRequestsWithFieldValueAndBound) {
  Retnetd server({"--max-context-length", "64"});
  std::vector<std::pair<v1::GenerateRequest, std::string>> cases;
  const auto add = [&](const std::string& message) -> v1::GenerateRequest& {
    return cases.emplace_back(Prompt("Alice", 5), message).first;
  };
  add("text is empty").set_text("");
  add("no prompt").clear_prompt();
  add("64 tokens, the context length").set_text(std::string(1000, 'q'));
  add("text is not UTF-8 at byte 1").set_text("a\xE9");
  add("max_tokens is 0").set_max_tokens(0);
  add("max_tokens is 2000000000; it must be from 1 to 64").set_max_tokens(2000000000);
  add("temperature is -1").set_temperature(-1);
  add("n is 1000").set_n(1000);
  add("vocabulary has tokens 0 to 419").mutable_token_ids()->add_ids(420);
  v1::GenerateRequest& unknown = add("field number 77");
  v1::GenerateRequest::GetReflection()->MutableUnknownFields(&unknown)->AddVarint(77, 1);
  for (const auto& [request, message] : cases) {
    const grpc::Status status = Refusal(request, server);
    EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT) << message;
    EXPECT_THAT(status.error_message(), HasSubstr(message));
  }
  EXPECT_TRUE(Refusal(Prompt("Alice", 5), server).ok());
}

TEST(Retnetd, EndsCallsAtTheirDeadline) {
  Retnetd server({}, /*sequences=*/1);
  const auto stub = server.NewStub();
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::milliseconds(300));
  v1::CompleteResponse response;
  EXPECT_EQ(stub->Complete(&context, Prompt("Alice", kEndless), &response).error_code(),
            grpc::StatusCode::DEADLINE_EXCEEDED);
  EXPECT_TRUE(Generate(Prompt("Alice", 3), stub.get()).status.ok());
}

TEST(Retnetd, RefusesWhatItsQueueDoesNotHold) {
  Retnetd server({"--max-queue", "1"}, /*sequences=*/1);
  const auto stub = server.NewStub();
  v1::GenerateRequest request = Prompt("Alice", kEndless);
  request.set_n(3);
  const grpc::Status status = Refusal(request, server);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_THAT(status.error_message(), HasSubstr("max_queue"));
}

// A stream that runs while the server is told to end.
class Drain : public ::testing::Test {
 protected:
  void StartStream(const std::string& drain_seconds, int32_t max_tokens) {
    server_ = std::make_unique<Retnetd>(std::vector<std::string>{"--drain-seconds", drain_seconds});
    stub_ = server_->NewStub();
    reader_ = stub_->Generate(&context_, Prompt("Alice", max_tokens));
    v1::GenerateResponse response;
    ASSERT_TRUE(reader_->Read(&response));
  }
  // Reads the rest; whether it ended with the final message.
  bool ReadToTheEnd() {
    v1::GenerateResponse response;
    while (reader_->Read(&response)) {
    }
    return response.has_final();
  }

  std::unique_ptr<Retnetd> server_;
  std::unique_ptr<v1::Generation::Stub> stub_;
  grpc::ClientContext context_;
  std::unique_ptr<grpc::ClientReader<v1::GenerateResponse>> reader_;
};

TEST_F(Drain, FinishesWhatRunsAndRefusesTheRest) {
  StartStream("1000", 5000);
  server_->process().Signal(SIGTERM);
  std::string health = "SERVING";
  while (health == "SERVING") health = server_->Health();
  EXPECT_EQ(health, "NOT_SERVING");
  grpc::Status refused;
  while (refused.ok()) refused = Refusal(Prompt("Alice", 1), *server_);
  EXPECT_EQ(refused.error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_TRUE(ReadToTheEnd());
  EXPECT_TRUE(reader_->Finish().ok());
  EXPECT_EQ(server_->process().Wait(), 0) << server_->process().error();
}

TEST_F(Drain, EndsAfterDrainSeconds) {
  StartStream("0.1", kEndless);
  server_->process().Signal(SIGINT);
  EXPECT_FALSE(ReadToTheEnd());
  EXPECT_EQ(reader_->Finish().error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_EQ(server_->process().Wait(), 0) << server_->process().error();
}

TEST_F(Drain, EndsAtOnceAtASecondSignal) {
  StartStream("1000", kEndless);
  server_->process().Signal(SIGTERM);
  while (server_->Health() == "SERVING") {
  }
  server_->process().Signal(SIGTERM);
  EXPECT_EQ(server_->process().Wait(), -SIGTERM);
}

v1::GetModelResponse GetModel(const Retnetd& server) {
  grpc::ClientContext context;
  v1::GetModelResponse model;
  const grpc::Status status = server.NewStub()->GetModel(&context, {}, &model);
  EXPECT_TRUE(status.ok()) << status.error_message();
  return model;
}

// A server started with exactly these flags, and what it logged until it ended.
std::string LogOf(const std::vector<std::string>& flags, v1::GetModelResponse* model) {
  Retnetd server(flags, /*sequences=*/std::nullopt);
  *model = GetModel(server);
  server.process().Signal(SIGTERM);
  EXPECT_EQ(server.process().Wait(), 0) << server.process().error();
  return server.process().error();
}

TEST(Retnetd, TakesFlagsUnderTheirOldNamesAndSaysSo) {
  v1::GetModelResponse model;
  const std::string log =
      LogOf({"--max-sessions", "5", "--snapshot-at-rest=int8", "--snapshot-store", "none"}, &model);
  EXPECT_EQ(model.max_sequences(), 5);
  EXPECT_THAT(log, HasSubstr("--max-sessions is now called --max-sequences"));
  EXPECT_THAT(log, HasSubstr("--snapshot-at-rest is now called --snapshot-dtype"));
}

TEST(Retnetd, TakesTheNamesThatUsersOfOtherServersKnow) {
  v1::GetModelResponse model;
  const std::string log =
      LogOf({"--max-num-seqs", "5", "--max-model-len", "77", "--max-num-batched-tokens", "32",
             "--enforce-eager", "--no-enable-prefix-caching", "--state-dtype", "fp32", "-t", "1"},
            &model);
  EXPECT_EQ(model.max_sequences(), 5);
  EXPECT_EQ(model.max_context_length(), 77);
  EXPECT_THAT(model.backend(), HasSubstr("1 thread"));
  EXPECT_THAT(log, Not(HasSubstr("is now called")));
  LogOf({"--parallel", "6"}, &model);
  EXPECT_EQ(model.max_sequences(), 6);
}

TEST(Retnetd, SaysByItsExitCodeWhatIsWrong) {
  const std::string model = ModelFolder();
  struct Case {
    std::vector<std::string> flags;
    int exit_code;
    std::string message;
  };
  const std::vector<Case> cases = {
      {{}, 2, "--model"},
      {{"--model", model, "--listen", "nowhere"}, 2, "HOST:PORT"},
      {{"--model", model, "--listen", "::1:50051"}, 2, "brackets"},
      {{"--model", model, "--device", "abacus"}, 2, "abacus"},
      {{"--model", model, "--max-queue", "0"}, 2, "--max-queue"},
      {{"--model", model, "--no-such-flag"}, 2, "--no-such-flag"},
      {{"--model", model, "--max-sequences", "-1"}, 2, "--max-sequences: -1 must be at least 0"},
      {{"--model", model, "--max-sessions", "-1"}, 2, "--max-sequences: -1 must be at least 0"},
      {{"--model", model, "--max-step-ms", "nan"}, 2, "--max-step-ms: nan must be at least 0"},
      {{"--model", model, "--snapshot-dtype", "fp8"}, 2, "fp8 must be exact, bf16 or int8"},
      {{"--model", model, "--device", "cuda"}, 3, "--device cpu"},
      {{"--model", model, "--device", "cpu", "--state-type", "bf16"}, 1, "--state-type is bf16"},
      {{"--model", model, "--device", "cpu", "--state-dtype", "bf16"}, 1, "--state-type is bf16"},
      {{"--model", model, "--state-type", "int8"}, 2, "int8"},
      {{"--model", model + "/nowhere"}, 1, "nowhere: there is no such folder"},
      {{"--model", model, "--listen", "192.0.2.1:1"}, 1, "--listen"},
      {{"--model", model, "--metrics-listen", "nowhere"}, 2, "HOST:PORT"},
      {{"--model", model, "--metrics-listen", "192.0.2.1:1"}, 1, "--metrics-listen"},
  };
  for (const Case& item : cases) {
    std::vector<std::string> arguments = {RETNETD_PATH};
    arguments.insert(arguments.end(), item.flags.begin(), item.flags.end());
    Process process(arguments);
    EXPECT_EQ(process.Wait(), item.exit_code) << process.error();
    EXPECT_EQ(process.output(), "");
    EXPECT_THAT(process.error(), HasSubstr(item.message));
  }
  Retnetd server;
  for (const std::string flag : {"--listen", "--metrics-listen"}) {
    Process second({RETNETD_PATH, "--model", model, flag, server.address()});
    EXPECT_EQ(second.Wait(), 1);
    EXPECT_THAT(second.error(), HasSubstr("in use"));
    EXPECT_THAT(second.error(), HasSubstr(flag + " HOST:PORT"));
  }
}

}  // namespace
}  // namespace retnet
