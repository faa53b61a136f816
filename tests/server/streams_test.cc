// Calls whose clients do not read, send nothing more or hold on: what they hold is bounded, and
// others are served.
#include <grpcpp/grpcpp.h>

#include <fstream>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "engine/snapshots/snapshot.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/server/fake_server.h"

namespace retnet {
namespace {

using ::testing::HasSubstr;

constexpr size_t kMegabyte = 1 << 20;
// Longer than a test takes.
constexpr absl::Duration kForEver = absl::Hours(1);

FakeServerOptions Options(StreamLimits streams) {
  FakeServerOptions options;
  options.streams = streams;
  options.model.max_rows = 256;
  options.engine.max_context_length = 1 << 20;
  return options;
}

// Every snapshot is larger than this, so that one runs at a time.
constexpr int64_t kOneTransfer = 1;

// A client that has a window of one byte for each call: the server can send almost nothing until
// the client reads.
class Client {
 public:
  explicit Client(FakeServer* server) {
    grpc::ChannelArguments arguments;
    arguments.SetInt(GRPC_ARG_HTTP2_STREAM_LOOKAHEAD_BYTES, 1);
    arguments.SetInt(GRPC_ARG_HTTP2_BDP_PROBE, 0);
    const auto channel = server->NewChannel(arguments);
    generation_ = v1::Generation::NewStub(channel);
    sessions_ = v1::Sessions::NewStub(channel);
  }
  v1::Generation::Stub& generation() { return *generation_; }
  v1::Sessions::Stub& sessions() { return *sessions_; }

 private:
  std::unique_ptr<v1::Generation::Stub> generation_;
  std::unique_ptr<v1::Sessions::Stub> sessions_;
};

class ExportCall {
 public:
  explicit ExportCall(Client* client) {
    v1::ExportSessionRequest request;
    request.set_id("large");
    reader_ = client->sessions().Export(&context_, request);
  }
  bool Read() {
    v1::ExportSessionResponse response;
    if (!reader_->Read(&response)) return false;
    bytes_ += response.chunk();
    return true;
  }
  grpc::Status ReadAll() {
    while (Read()) continue;
    return reader_->Finish();
  }
  void Cancel() { context_.TryCancel(); }
  const std::string& bytes() const { return bytes_; }

 private:
  grpc::ClientContext context_;
  std::unique_ptr<grpc::ClientReader<v1::ExportSessionResponse>> reader_;
  std::string bytes_;
};

class ImportCall {
 public:
  explicit ImportCall(Client* client) : writer_(client->sessions().Import(&context_, &session_)) {}
  void Send(const std::string& bytes) {
    v1::ImportSessionRequest request;
    if (!std::exchange(begun_, true)) request.mutable_session();
    for (size_t i = 0; i < bytes.size(); i += kMegabyte) {
      request.set_chunk(bytes.substr(i, kMegabyte));
      if (!writer_->Write(request)) return;
      request.clear_session();
    }
  }
  grpc::Status Finish() {
    writer_->WritesDone();
    return writer_->Finish();
  }
  // The end of a call that has not said that it sends nothing more.
  grpc::Status AwaitEnd() { return writer_->Finish(); }
  void Cancel() { context_.TryCancel(); }

 private:
  grpc::ClientContext context_;
  v1::Session session_;
  bool begun_ = false;
  std::unique_ptr<grpc::ClientWriter<v1::ImportSessionRequest>> writer_;
};

// A snapshot of `tokens` tokens, four bytes each.
std::string LargeSnapshot(FakeServer* server, int32_t tokens) {
  Snapshot snapshot;
  snapshot.history.assign(tokens, 7);
  snapshot.created = snapshot.last_used = absl::Now();
  return *EncodeSnapshot(snapshot, server->engine().snapshot_format());
}

// Makes the session "large".
std::string MakeLargeSession(FakeServer* server) {
  std::string bytes = LargeSnapshot(server, 900'000);
  grpc::ClientContext context;
  v1::Session session;
  const auto writer = server->sessions().Import(&context, &session);
  v1::ImportSessionRequest request;
  request.mutable_session()->set_id("large");
  request.set_chunk(bytes);
  writer->Write(request);
  writer->WritesDone();
  const grpc::Status status = writer->Finish();
  EXPECT_TRUE(status.ok()) << status.error_message();
  return bytes;
}

void ExpectServes(FakeServer* server) {
  EXPECT_TRUE(server->Generate(GreedyRequest(5)).status.ok());
}

TEST(HeldStreams, OfAnExportThatIsNotReadEndWhenOthersWait) {
  FakeServer server(
      Options({.transfer_bytes = kOneTransfer, .transfer_idle = absl::Milliseconds(500)}));
  MakeLargeSession(&server);
  Client client(&server);
  ExportCall unread(&client);
  ExportCall waits(&client);
  EXPECT_TRUE(waits.ReadAll().ok());  // once the other one has been ended
  EXPECT_GT(waits.bytes().size(), 3 * kMegabyte);
  const grpc::Status status = unread.ReadAll();
  EXPECT_EQ(status.error_code(), grpc::StatusCode::DEADLINE_EXCEEDED);
  EXPECT_THAT(status.error_message(), HasSubstr("has taken nothing for 500ms"));
  ExpectServes(&server);
}

TEST(HeldStreams, OfAnExportThatIsReadSlowlyGoOn) {
  const absl::Duration idle = absl::Seconds(3);
  FakeServer server(Options({.transfer_bytes = kOneTransfer, .transfer_idle = idle}));
  MakeLargeSession(&server);
  Client client(&server);
  ExportCall slow(&client);
  const absl::Time start = absl::Now();
  while (slow.Read()) absl::SleepFor(idle / 3);
  EXPECT_TRUE(slow.ReadAll().ok());
  EXPECT_GT(absl::Now() - start, idle);  // the test shows something
  EXPECT_GT(slow.bytes().size(), 3 * kMegabyte);
}

TEST(HeldStreams, OfAnImportThatDoesNotGoOnEndWhenOthersWait) {
  FakeServer server(
      Options({.transfer_bytes = kOneTransfer, .transfer_idle = absl::Milliseconds(500)}));
  Client client(&server);
  const std::string snapshot = LargeSnapshot(&server, 900'000);
  ImportCall held(&client);
  held.Send(snapshot.substr(0, kMegabyte));
  ImportCall waits(&client);
  waits.Send(snapshot);
  const grpc::Status whole = waits.Finish();
  EXPECT_TRUE(whole.ok()) << whole.error_message();
  const grpc::Status status = held.AwaitEnd();
  EXPECT_EQ(status.error_code(), grpc::StatusCode::DEADLINE_EXCEEDED);
  EXPECT_THAT(status.error_message(), HasSubstr("has sent nothing for 500ms"));
  ExpectServes(&server);
}

TEST(HeldStreams, AreCancelledWhileTheyWait) {
  FakeServer server(Options({.transfer_bytes = kOneTransfer, .transfer_idle = kForEver}));
  const std::string snapshot = MakeLargeSession(&server);
  Client client(&server);
  ExportCall holds(&client);
  ASSERT_TRUE(holds.Read());
  ExportCall waiting_export(&client);
  ImportCall waiting_import(&client);
  waiting_import.Send(snapshot.substr(0, 1));
  ExpectServes(&server);
  waiting_export.Cancel();
  waiting_import.Cancel();
  EXPECT_EQ(waiting_export.ReadAll().error_code(), grpc::StatusCode::CANCELLED);
  EXPECT_EQ(waiting_import.AwaitEnd().error_code(), grpc::StatusCode::CANCELLED);
  EXPECT_TRUE(holds.ReadAll().ok());
  ExportCall next(&client);
  EXPECT_TRUE(next.ReadAll().ok());
  // No call is left that a drain would wait for.
  EXPECT_TRUE(server.server().Drain(absl::Now() + absl::Seconds(60)));
}

TEST(HeldStreams, GiveTheirTurnBackWhenTheClientGoes) {
  FakeServer server(Options({.transfer_bytes = kOneTransfer, .transfer_idle = kForEver}));
  const std::string snapshot = MakeLargeSession(&server);
  Client client(&server);
  {
    ExportCall holds(&client);
    ASSERT_TRUE(holds.Read());
    holds.Cancel();
    EXPECT_FALSE(holds.ReadAll().ok());
  }
  ImportCall holds(&client);
  holds.Send(snapshot.substr(0, kMegabyte));
  holds.Cancel();
  EXPECT_EQ(holds.AwaitEnd().error_code(), grpc::StatusCode::CANCELLED);
  ExportCall next(&client);
  EXPECT_TRUE(next.ReadAll().ok());
}

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

TEST(UnreadStreams, OfAGenerationEndWithWords) {
  FakeServer server(Options({.unread_bytes = kMegabyte}));
  Client client(&server);
  grpc::ClientContext context;
  const auto reader = client.generation().Generate(&context, LargeOutput());
  AwaitFinished(&server, 1);
  v1::GenerateResponse response;
  while (reader->Read(&response)) continue;
  ExpectUnread(reader->Finish());
  // Whoever reads has as much as ever.
  EXPECT_EQ(server.Generate(LargeOutput()).ids().size(), 2000);
}

TEST(UnreadStreams, OfAScoreEndWithWords) {
  FakeServer server(Options({.unread_bytes = kMegabyte}));
  Client client(&server);
  v1::ScoreRequest request;
  for (int i = 0; i < 150'000; ++i) request.mutable_token_ids()->add_ids(7);
  grpc::ClientContext context;
  const auto reader = client.generation().Score(&context, request);
  AwaitFinished(&server, 1);
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
  FakeServer server(Options({.unread_bytes = kMegabyte}));
  Client client(&server);
  grpc::ClientContext context;
  const auto stream = client.generation().Converse(&context);
  GoOn(LargeOutput(), stream.get());
  AwaitFinished(&server, 2);
  v1::ConverseResponse response;
  while (stream->Read(&response)) continue;
  ExpectUnread(stream->Finish());
  ExpectServes(&server);
}

TEST(UnreadStreams, OfACompleteCountWhileItIsCollected) {
  FakeServer server(Options({.unread_bytes = kMegabyte}));
  grpc::ClientContext context;
  v1::CompleteResponse response;
  ExpectUnread(server.stub().Complete(&context, LargeOutput(), &response));
  ExpectServes(&server);
}

// Unary answers that the client does not take, in the order of the calls.
class UnreadAnswers {
 public:
  explicit UnreadAnswers(Client* client) : client_(client) {}
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

  Client* client_;
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
  FakeServer server(Options({.unread_bytes = 4 * kMegabyte}));
  Client client(&server);
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
  FakeServer server(Options({.transfer_bytes = 16 * kMegabyte, .unread_bytes = 16 * kMegabyte}));
  MakeLargeSession(&server);
  Client client(&server);
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
  ExpectLittleMemory(0, [](Client* client) { return std::make_unique<ExportCall>(client); });
}

TEST(TwoHundredCalls, OfGenerateTakeLittleMemory) {
  struct Call {
    grpc::ClientContext context;
    std::unique_ptr<grpc::ClientReader<v1::GenerateResponse>> reader;
  };
  ExpectLittleMemory(200, [](Client* client) {
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
  ExpectLittleMemory(400, [](Client* client) {
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
