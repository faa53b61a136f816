// Long texts over a real socket: they take turns, end when they are given up, and share a budget.
#include <atomic>
#include <chrono>
#include <string>
#include <thread>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/sanitized.h"
#include "tests/server/fake_server.h"

namespace retnet {
namespace {

using ::testing::HasSubstr;

// So long that others take turns with it.
constexpr size_t kBook = kSanitized ? 1 << 20 : 3 << 20;
// So long that it takes turns with books.
constexpr size_t kChapter = 300 << 10;

std::string Words(size_t bytes) {
  std::string text;
  while (text.size() < bytes) text += "word of ";
  text.resize(bytes);
  return text;
}

grpc::Status Tokenize(FakeServer* server, const std::string& text,
                      std::chrono::milliseconds time = std::chrono::seconds(300)) {
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + time);
  v1::TokenizeRequest request;
  request.set_text(text);
  v1::TokenizeResponse response;
  return server->stub().Tokenize(&context, request, &response);
}

TEST(TextRequests, EndWhenTheyAreGivenUp) {
  FakeServer server;
  const std::string text = Words(kSanitized ? kBook : 8 << 20);
  EXPECT_EQ(Tokenize(&server, text, std::chrono::milliseconds(30)).error_code(),
            grpc::StatusCode::DEADLINE_EXCEEDED);
  {
    grpc::ClientContext context;
    v1::ScoreRequest request;
    request.set_text(text);
    const auto reader = server.stub().Score(&context, request);
    context.TryCancel();
    EXPECT_EQ(reader->Finish().error_code(), grpc::StatusCode::CANCELLED);
  }
  const std::string behind = Words(kChapter);
  EXPECT_TRUE(Tokenize(&server, behind).ok());
  const int64_t bytes = server.tokenizer().encoded_bytes();
  EXPECT_LT(bytes, static_cast<int64_t>(text.size() + behind.size()));
}

TEST(TextRequests, TakeTurns) {
  FakeServer server;
  std::atomic<bool> ended = false;
  std::thread other([&] {
    EXPECT_TRUE(Tokenize(&server, Words(kBook)).ok());
    ended = true;
  });
  while (server.tokenizer().encoded_bytes() == 0) std::this_thread::yield();
  EXPECT_TRUE(Tokenize(&server, Words(kChapter)).ok());
  EXPECT_FALSE(ended);
  EXPECT_TRUE(Tokenize(&server, Words(100 << 10)).ok());
  EXPECT_FALSE(ended);
  other.join();
}

// Refused before a step of the model, and before more of the text is tokenized than shows it.
TEST(TextRequests, ThatCannotFitAreRefusedBeforeAnyStep) {
  FakeServerOptions options;
  options.engine.max_context_length = 1000;
  FakeServer server(options);
  const auto complete = [&server](const v1::GenerateRequest& request) {
    grpc::ClientContext context;
    v1::CompleteResponse response;
    return server.stub().Complete(&context, request, &response);
  };
  v1::GenerateRequest request = GreedyRequest(1);
  request.set_text(Words(1000 * server.tokenizer().max_token_bytes() + 1));
  grpc::Status status = complete(request);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_THAT(status.error_message(), HasSubstr("split it"));
  EXPECT_EQ(server.tokenizer().encoded_bytes(), 0);
  request.set_text(Words(1000 * server.tokenizer().max_token_bytes()));
  status = complete(request);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_THAT(status.error_message(), HasSubstr("split it"));
  EXPECT_LT(server.tokenizer().encoded_bytes(), 64 << 10);
  for (int i = 0; i < 1000; ++i) request.mutable_token_ids()->add_ids(5);
  EXPECT_EQ(complete(request).error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(server.control().step_count(), 0);
  request.mutable_token_ids()->mutable_ids()->RemoveLast();
  EXPECT_TRUE(complete(request).ok());
  EXPECT_GT(server.control().step_count(), 0);
}

TEST(TextRequests, ShareABudget) {
  FakeServerOptions options;
  options.text.texts_in_progress_bytes = 10000;
  options.engine.max_context_length = 1 << 14;
  FakeServer server(options);
  {
    grpc::ClientContext context;
    const auto stream = server.stub().Converse(&context);
    v1::ConverseRequest message;
    message.set_text("one " + std::string(9000, 'a'));  // held back: it may go on
    ASSERT_TRUE(stream->Write(message));
    v1::ConverseResponse response;
    ASSERT_TRUE(stream->Read(&response));
    ASSERT_TRUE(response.has_begun());
    ASSERT_TRUE(stream->Read(&response));
    ASSERT_TRUE(response.has_typed());
    const grpc::Status refused = Tokenize(&server, std::string(1200, 'a'));
    EXPECT_EQ(refused.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
    EXPECT_THAT(refused.error_message(), HasSubstr("10000"));
    EXPECT_TRUE(Tokenize(&server, std::string(150, 'a')).ok());
    EXPECT_FALSE(Tokenize(&server, std::string(500, 'a')).ok()) << "four bytes a token";
    ASSERT_TRUE(stream->WritesDone());
    while (stream->Read(&response)) {
    }
    const grpc::Status status = stream->Finish();
    EXPECT_TRUE(status.ok()) << status.error_message();
  }
  EXPECT_TRUE(Tokenize(&server, std::string(1200, 'a')).ok());
}

TEST(TextRequests, AreRefusedAboveTheBoundOfATurnToo) {
  FakeServerOptions options;
  options.text.max_text_bytes = 100;
  FakeServer server(options);
  for (const size_t bytes : {49, 50, 51}) {
    grpc::ClientContext context;
    const auto stream = server.stub().Converse(&context);
    v1::ConverseRequest message;
    message.set_text(Words(50));
    stream->Write(message);
    message.set_text(Words(bytes));
    stream->Write(message);
    stream->WritesDone();
    v1::ConverseResponse response;
    while (stream->Read(&response)) {
    }
    EXPECT_EQ(stream->Finish().error_code(),
              bytes <= 50 ? grpc::StatusCode::OK : grpc::StatusCode::INVALID_ARGUMENT);
  }
}

}  // namespace
}  // namespace retnet
