// Answers that their clients do not read: what they hold is bounded, and others are served.
#include <grpcpp/grpcpp.h>

#include <fstream>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/server/slow_client.h"

namespace retnet {
namespace {

using ::testing::HasSubstr;

// A generation whose output takes some megabytes.
v1::GenerateRequest LargeOutput() {
  v1::GenerateRequest request = GreedyRequest(2000);
  request.set_ignore_eos(true);
  request.set_logprobs(20);
  return request;
}

void ExpectUnread(const grpc::Status& status) {
  EXPECT_EQ(status.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_THAT(status.error_message(), HasSubstr("wait to be read"));
}

void AwaitFinished(FakeServer* server, int64_t requests) {
  while (server->engine().stats().requests_finished < requests) {
    absl::SleepFor(absl::Milliseconds(1));
  }
}

// Returns when so many requests have finished and what they left unread has ended its call, which
// another thread of the server does.
void AwaitEnded(FakeServer* server, int64_t requests) {
  AwaitFinished(server, requests);
  absl::SleepFor(absl::Seconds(1));
}

TEST(UnreadStreams, OfAGenerationEndWithWords) {
  FakeServer server(StreamTestOptions({.unread_bytes = kMegabyte}));
  SlowClient client(&server);
  grpc::ClientContext context;
  const auto reader = client.generation().Generate(&context, LargeOutput());
  AwaitEnded(&server, 1);
  v1::GenerateResponse response;
  while (reader->Read(&response)) continue;
  ExpectUnread(reader->Finish());
  ExpectServes(&server);
}

TEST(UnreadStreams, OfAScoreEndWithWords) {
  FakeServer server(StreamTestOptions({.unread_bytes = kMegabyte}));
  SlowClient client(&server);
  v1::ScoreRequest request;
  for (int i = 0; i < 150'000; ++i) request.mutable_token_ids()->add_ids(7);
  grpc::ClientContext context;
  const auto reader = client.generation().Score(&context, request);
  AwaitEnded(&server, 1);
  v1::ScoreResponse response;
  while (reader->Read(&response)) continue;
  ExpectUnread(reader->Finish());
  ExpectServes(&server);
}

using Conversation = grpc::ClientReaderWriter<v1::ConverseRequest, v1::ConverseResponse>;

// Two requests of a conversation: a token is typed, and answered.
void GoOn(const v1::GenerateRequest& go, Conversation* stream) {
  v1::ConverseRequest request;
  request.mutable_token_ids()->add_ids(7);
  stream->Write(request);
  v1::ConverseResponse response;
  while (!response.has_typed() && stream->Read(&response)) continue;
  *request.mutable_go() = go;
  request.mutable_go()->clear_prompt();
  stream->Write(request);
}

TEST(UnreadStreams, OfAConversationEndWithWords) {
  FakeServer server(StreamTestOptions({.unread_bytes = kMegabyte}));
  SlowClient client(&server);
  grpc::ClientContext context;
  const auto stream = client.generation().Converse(&context);
  GoOn(LargeOutput(), stream.get());
  AwaitEnded(&server, 2);
  v1::ConverseResponse response;
  while (stream->Read(&response)) continue;
  ExpectUnread(stream->Finish());
  ExpectServes(&server);
}

TEST(UnreadStreams, OfACompleteCountWhileItIsCollected) {
  FakeServer server(StreamTestOptions({.unread_bytes = kMegabyte}));
  grpc::ClientContext context;
  v1::CompleteResponse response;
  ExpectUnread(server.stub().Complete(&context, LargeOutput(), &response));
  ExpectServes(&server);
}

// Unary answers that the client does not take, in the order of the calls.
class UnreadAnswers {
 public:
  explicit UnreadAnswers(SlowClient* client) : client_(client) {}
  ~UnreadAnswers() {
    queue_.Shutdown();
    void* tag;
    bool ok;
    while (queue_.Next(&tag, &ok)) continue;
  }
  // Returns when the server has answered: then the metadata before the answer is there.
  void Ask(const v1::DetokenizeRequest& request) {
    Call& call = *calls_.emplace_back(std::make_unique<Call>());
    call.reader = client_->generation().AsyncDetokenize(&call.context, request, &queue_);
    call.reader->ReadInitialMetadata(&call);
    Await();
  }
  grpc::Status Take(size_t number) {
    Call& call = *calls_[number];
    call.reader->Finish(&call.response, &call.status, &call);
    Await();
    return call.status;
  }

 private:
  struct Call {
    grpc::ClientContext context;
    std::unique_ptr<grpc::ClientAsyncResponseReader<v1::DetokenizeResponse>> reader;
    v1::DetokenizeResponse response;
    grpc::Status status;
  };
  void Await() {
    void* tag;
    bool ok;
    queue_.Next(&tag, &ok);
  }

  SlowClient* client_;
  grpc::CompletionQueue queue_;
  std::vector<std::unique_ptr<Call>> calls_;
};

v1::DetokenizeRequest TextOf(int kilobytes, FakeServer* server) {
  v1::DetokenizeRequest request;
  const TokenId long_token = server->tokenizer().vocab_size() - 1;  // 4096 bytes
  for (int i = 0; i < kilobytes / 4; ++i) request.add_token_ids(long_token);
  return request;
}

TEST(UnreadStreams, OfUnaryAnswersEndTheGreatest) {
  FakeServer server(StreamTestOptions({.unread_bytes = 4 * kMegabyte}));
  SlowClient client(&server);
  UnreadAnswers answers(&client);
  answers.Ask(TextOf(1000, &server));
  answers.Ask(TextOf(1900, &server));
  answers.Ask(TextOf(1000, &server));
  const grpc::Status before = answers.Take(0);
  EXPECT_TRUE(before.ok()) << before.error_message();  // all of them fit
  for (int i = 0; i < 3; ++i) answers.Ask(TextOf(1000, &server));
  for (const size_t number : {2, 3, 4, 5}) {
    const grpc::Status status = answers.Take(number);
    EXPECT_TRUE(status.ok()) << number << ": " << status.error_message();
  }
  ExpectUnread(answers.Take(1));
}

int64_t ResidentBytes() {
  int64_t pages = 0;
  std::ifstream("/proc/self/statm") >> pages >> pages;
  return pages * 4096;
}

// 200 calls that `begin` begins and that are never read, with bounds of 16 MiB. Without bounds each
// kind takes at least 150 MB. Imports are not among them: what their client holds is in the same
// process.
template <typename Begin>
void ExpectLittleMemory(int64_t requests, Begin begin) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "a sanitizer takes memory of its own";
#endif
  FakeServer server(
      StreamTestOptions({.transfer_bytes = 16 * kMegabyte, .unread_bytes = 16 * kMegabyte}));
  MakeLargeSession(&server);
  SlowClient client(&server);
  ExpectServes(&server);
  const int64_t before = ResidentBytes();
  std::vector<decltype(begin(&client))> calls;
  for (int i = 0; i < 200; ++i) calls.push_back(begin(&client));
  AwaitFinished(&server, requests + 1);
  absl::SleepFor(absl::Seconds(1));  // for what the calls would go on to take
  EXPECT_LT(ResidentBytes() - before, 100'000'000);
  ExpectServes(&server);
}

TEST(TwoHundredCalls, OfExportTakeLittleMemory) {
  ExpectLittleMemory(0, [](SlowClient* client) { return std::make_unique<ExportCall>(client); });
}

TEST(TwoHundredCalls, OfGenerateTakeLittleMemory) {
  struct Call {
    grpc::ClientContext context;
    std::unique_ptr<grpc::ClientReader<v1::GenerateResponse>> reader;
  };
  ExpectLittleMemory(200, [](SlowClient* client) {
    auto call = std::make_unique<Call>();
    v1::GenerateRequest request = LargeOutput();
    request.set_max_tokens(400);
    call->reader = client->generation().Generate(&call->context, request);
    return call;
  });
}

TEST(TwoHundredCalls, OfConverseTakeLittleMemory) {
  struct Call {
    grpc::ClientContext context;
    std::unique_ptr<Conversation> stream;
  };
  ExpectLittleMemory(400, [](SlowClient* client) {
    auto call = std::make_unique<Call>();
    call->stream = client->generation().Converse(&call->context);
    v1::GenerateRequest request = LargeOutput();
    request.set_max_tokens(400);
    GoOn(request, call->stream.get());
    return call;
  });
}

}  // namespace
}  // namespace retnet
