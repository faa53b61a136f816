// A client receives messages of 4 MiB by default: answers fit, or the error says what to ask for
// instead.
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/time/clock.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/calls/chunk_queue.h"
#include "server/calls/unary_call.h"
#include "tests/server/fake_server.h"
#include "tests/server/session_fixture.h"

namespace retnet {
namespace {

using ::testing::HasSubstr;
using ::testing::Le;
using ::testing::Not;
using ::testing::SizeIs;

constexpr size_t kBound = 4 << 20;

// The token whose text has 4096 bytes.
TokenId LongToken() { return FakeTokenizer::WithBytes().vocab_size() - 1; }

FakeServerOptions SayingLongTokens() {
  FakeServerOptions options;
  options.model.next = [](int32_t, TokenId) { return LongToken(); };
  options.model.max_rows = 256;
  return options;
}

TEST(AnswerSizes, EndAtWhatAClientReceives) {
  EXPECT_TRUE(CheckAnswerBytes(kBound - 1, "").ok());
  EXPECT_TRUE(CheckAnswerBytes(kBound, "").ok());
  const absl::Status status = CheckAnswerBytes(kBound + 1, "ask for less");
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(status.message()), HasSubstr("4194305"));
  EXPECT_THAT(std::string(status.message()), HasSubstr("ask for less"));
}

class LabelledSessions : public SessionsTest {
 protected:
  // With almost as large labels as there may be: 64,000 bytes.
  void CreateLarge(const std::string& id) {
    v1::CreateSessionRequest request;
    request.set_id(id);
    for (int i = 10; i < 74; ++i) {
      (*request.mutable_labels())[std::to_string(i)] = std::string(998, 'v');
    }
    Create(request);
  }
};

TEST_F(LabelledSessions, AreListedInPagesThatFit) {
  std::map<std::string, int> seen;
  for (int i = 100; i < 200; ++i) CreateLarge(std::to_string(i));
  std::string token;
  int pages = 0;
  do {
    const v1::ListSessionsResponse page = List(1000, token);
    ASSERT_TRUE(status_.ok()) << status_.error_message();
    if (pages == 0) {
      EXPECT_GT(page.sessions_size(), 60);
    }
    ASSERT_LE(page.ByteSizeLong(), kBound);
    for (const v1::Session& session : page.sessions()) ++seen[session.id()];
    token = page.next_page_token();
    ++pages;
  } while (!token.empty() && pages < 10);
  EXPECT_EQ(pages, 2);
  EXPECT_THAT(seen, SizeIs(100));
  EXPECT_EQ(seen.begin()->second, 1);
}

TEST_F(LabelledSessions, AreForkedAsFarAsTheAnswerFits) {
  CreateLarge("parent");
  v1::ForkSessionRequest request;
  request.set_id("parent");
  request.set_count(128);
  Fork(request, grpc::StatusCode::RESOURCE_EXHAUSTED);
  const std::string& message = status_.error_message();
  EXPECT_THAT(message, HasSubstr("128 forks"));
  EXPECT_THAT(Ids(), SizeIs(1));
  const size_t at = message.find("at most ");
  ASSERT_NE(at, std::string::npos) << message;
  const int most = std::stoi(message.substr(at + 8));
  ASSERT_GT(most, 48);
  request.set_count(most + 1);
  Fork(request, grpc::StatusCode::RESOURCE_EXHAUSTED);
  for (const int count : {most, most - 1}) {
    request.set_count(count);
    const v1::ForkSessionResponse response = Fork(request);
    EXPECT_EQ(response.sessions_size(), count);
    EXPECT_LE(response.ByteSizeLong(), kBound);
  }
}

TEST_F(LabelledSessions, ThatAreNotThereAreForkedByNobody) {
  v1::ForkSessionRequest request;
  request.set_id("nobody");
  request.set_count(128);
  Fork(request, grpc::StatusCode::NOT_FOUND);
}

TEST(AnswerSizes, EndACompleteThatNobodyCouldReceive) {
  FakeServer server(SayingLongTokens());
  const auto complete = [&](int32_t samples, int32_t tokens, v1::CompleteResponse* response) {
    grpc::ClientContext context;
    v1::GenerateRequest request = GreedyRequest(tokens);
    request.set_n(samples);
    return server.stub().Complete(&context, request, response);
  };
  v1::CompleteResponse response;
  // A text comes twice: for each token and in all.
  ASSERT_TRUE(complete(1, 500, &response).ok());
  EXPECT_THAT(response.ByteSizeLong(), Le(kBound));
  ASSERT_TRUE(complete(2, 250, &response).ok());
  for (const auto& [samples, tokens] : {std::pair(1, 520), std::pair(4, 130), std::pair(1, 4000)}) {
    const int64_t steps = server.control().step_count();
    const grpc::Status status = complete(samples, tokens, &response);
    EXPECT_EQ(status.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED) << samples;
    EXPECT_THAT(status.error_message(), HasSubstr("max_tokens"));
    EXPECT_LT(server.control().step_count() - steps, 1000) << "computed in vain";
  }
}

// A token has at least 4 bytes, and each of its candidates 2.
TEST(AnswerSizes, RefuseACompleteThatCannotFitBeforeAnyStep) {
  FakeServer server(SayingLongTokens());
  const auto complete = [&](int32_t min_tokens, int32_t max_tokens, bool may_stop) {
    grpc::ClientContext context;
    v1::GenerateRequest request = GreedyRequest(max_tokens);
    request.set_n(128);
    request.set_logprobs(20);
    request.set_min_tokens(min_tokens);
    request.set_ignore_eos(!may_stop);
    v1::CompleteResponse response;
    return server.stub().Complete(&context, request, &response);
  };
  constexpr int32_t kMost = (4 << 20) / 128 / (4 + 20 * 2);
  for (const grpc::Status& status :
       {complete(0, kMost + 1, false), complete(kMost + 1, kMost + 1, true)}) {
    EXPECT_EQ(status.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
    EXPECT_THAT(status.error_message(), HasSubstr("would have at least"));
  }
  EXPECT_EQ(server.control().step_count(), 0);
  EXPECT_EQ(server.engine().stats().requests_finished, 0);
  // These may fit as far as anybody can tell, and end later.
  for (const grpc::Status& status : {complete(0, kMost, false), complete(kMost - 1, kMost, true)}) {
    EXPECT_THAT(status.error_message(), Not(HasSubstr("would have at least")));
  }
  EXPECT_GT(server.control().step_count(), 0);
}

TEST(AnswerSizes, EndADetokenizeThatNobodyCouldReceive) {
  FakeServer server;
  const auto detokenize = [&](int count, std::string* text) {
    grpc::ClientContext context;
    v1::DetokenizeRequest request;
    for (int i = 0; i < count; ++i) request.add_token_ids(LongToken());
    v1::DetokenizeResponse response;
    const grpc::Status status = server.stub().Detokenize(&context, request, &response);
    *text = response.text();
    return status;
  };
  std::string text;
  ASSERT_TRUE(detokenize(1023, &text).ok());
  EXPECT_EQ(text, std::string(1023 * 4096, 'x'));
  for (const int count : {1024, 1025, 100'000}) {
    const grpc::Status status = detokenize(count, &text);
    EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
    EXPECT_THAT(status.error_message(), HasSubstr("token_ids"));
  }
}

TEST(AnswerSizes, CutChunksOfManyCandidates) {
  const FakeTokenizer tokenizer = FakeTokenizer::WithBytes();
  ChunkQueue queue(&tokenizer);
  GenerationPlan plan;
  plan.request.logprobs = true;
  queue.Begin(plan);
  SampleResult answer;
  answer.token = LongToken();
  answer.top.resize(20, {LongToken(), -1.0f});
  constexpr int kTokens = 600;
  queue.Accept(0, std::vector<SampleResult>(kTokens, answer));
  EXPECT_GT(queue.bytes(), int64_t{kTokens} * 21 * 4096);
  int tokens = 0;
  v1::TokenChunk chunk;
  while (queue.Take(&chunk)) {
    EXPECT_LE(chunk.ByteSizeLong(), kBound / 2);
    tokens += chunk.tokens_size();
  }
  EXPECT_EQ(tokens, kTokens);
  EXPECT_EQ(queue.bytes(), 0);
}

TEST(AnswerSizes, CutChunksOfAScore) {
  FakeServer server(SayingLongTokens());
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_HTTP2_STREAM_LOOKAHEAD_BYTES, 1);
  arguments.SetInt(GRPC_ARG_HTTP2_BDP_PROBE, 0);
  const auto stub = v1::Generation::NewStub(server.NewChannel(arguments));
  grpc::ClientContext context;
  v1::ScoreRequest request;
  constexpr int kTokens = 3000;
  for (int i = 0; i < kTokens; ++i) request.mutable_token_ids()->add_ids(LongToken());
  const auto reader = stub->Score(&context, request);
  // Nobody reads meanwhile, so that the results pile up.
  while (server.engine().stats().requests_finished == 0) absl::SleepFor(absl::Milliseconds(1));
  v1::ScoreResponse response;
  int tokens = 0;
  while (reader->Read(&response)) {
    EXPECT_LE(response.ByteSizeLong(), kBound / 2);
    tokens += response.chunk().tokens_size();
  }
  EXPECT_TRUE(reader->Finish().ok());
  EXPECT_EQ(tokens, kTokens);
}

}  // namespace
}  // namespace retnet
