// Conversations: text is computed as it is typed, and answered as if it had been sent at once.
#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/server/fake_server.h"

namespace retnet {
namespace {

using ::testing::HasSubstr;

// A client's side of one conversation.
class Talk {
 public:
  explicit Talk(FakeServer* server) : stream_(server->stub().Converse(&context_)) {}

  void Begin(const std::string& session, std::optional<int32_t> session_tokens = std::nullopt) {
    v1::ConverseRequest request;
    request.mutable_begin()->set_session_id(session);
    if (session_tokens) request.mutable_begin()->set_session_tokens(*session_tokens);
    stream_->Write(request);
  }
  void Type(const std::string& text) {
    v1::ConverseRequest request;
    request.set_text(text);
    stream_->Write(request);
  }
  static v1::GenerateRequest Greedy(int32_t max_tokens) {
    v1::GenerateRequest request;
    request.set_temperature(0);
    request.set_max_tokens(max_tokens);
    request.set_ignore_eos(true);
    return request;
  }
  void Go(const v1::GenerateRequest& go) {
    v1::ConverseRequest request;
    *request.mutable_go() = go;
    stream_->Write(request);
  }
  void Stop() {
    v1::ConverseRequest request;
    request.mutable_stop();
    stream_->Write(request);
  }
  v1::ConverseResponse Read() {
    v1::ConverseResponse response;
    stream_->Read(&response);
    return response;
  }
  // Reads up to the end of an answer: its ids.
  std::vector<TokenId> Answer() {
    std::vector<TokenId> ids;
    v1::ConverseResponse response;
    while (stream_->Read(&response)) {
      for (const v1::Token& token : response.chunk().tokens()) ids.push_back(token.id());
      if (!response.has_final()) continue;
      final_ = response.final();
      break;
    }
    return ids;
  }
  grpc::Status Close() {
    stream_->WritesDone();
    v1::ConverseResponse response;
    while (stream_->Read(&response)) {
    }
    return stream_->Finish();
  }
  void Cancel() { context_.TryCancel(); }
  const v1::GenerateResponse::Final& final() const { return final_; }

 private:
  grpc::ClientContext context_;
  std::unique_ptr<grpc::ClientReaderWriter<v1::ConverseRequest, v1::ConverseResponse>> stream_;
  v1::GenerateResponse::Final final_;
};

grpc::StatusCode Find(const std::string& id, FakeServer* server) {
  grpc::ClientContext context;
  v1::GetSessionRequest request;
  request.set_id(id);
  v1::Session session;
  return server->sessions().Get(&context, request, &session).error_code();
}

void Create(const std::string& id, FakeServer* server) {
  grpc::ClientContext context;
  v1::CreateSessionRequest request;
  request.set_id(id);
  v1::Session session;
  ASSERT_TRUE(server->sessions().Create(&context, request, &session).ok());
}

// The answer to the whole text on a session.
std::vector<TokenId> ResultOf(const std::string& text, const std::string& session,
                              int32_t max_tokens, FakeServer* server) {
  v1::GenerateRequest request = Talk::Greedy(max_tokens);
  request.set_text(text);
  request.set_session_id(session);
  const Streamed streamed = server->Generate(request);
  EXPECT_TRUE(streamed.status.ok()) << streamed.status.error_message();
  return streamed.ids();
}

TEST(Converse, ComputesWhatIsTypedBeforeItIsToGo) {
  FakeServer server;
  Talk talk(&server);
  talk.Type("a");
  EXPECT_EQ(talk.Read().begun().session_tokens(), 0);
  talk.Type(" wolf ca");
  // BOS, "a", " wolf"; not " ca", which may go on.
  EXPECT_EQ(talk.Read().typed().session_tokens(), 7);
  talk.Type("me by");
  EXPECT_EQ(talk.Read().typed().session_tokens(), 12);
  talk.Go(Talk::Greedy(6));
  const std::vector<TokenId> answer = talk.Answer();
  EXPECT_EQ(talk.final().session_tokens(), 21);
  EXPECT_EQ(talk.final().usage().prompt_tokens(), 15);
  // All that was typed before, but for its newest token.
  EXPECT_EQ(talk.final().usage().cached_tokens(), 11);
  EXPECT_EQ(answer, ResultOf("a wolf came by", "", 6, &server));
  EXPECT_TRUE(talk.Close().ok());
}

TEST(Converse, GoesOnTurnAfterTurnOnOneSession) {
  FakeServer server;
  Create("talk", &server);
  Create("plain", &server);
  Talk talk(&server);
  talk.Begin("talk");
  EXPECT_EQ(talk.Read().begun().session_id(), "talk");
  for (const std::string turn : {"once upon a time", " and then", "", "x y z"}) {
    for (const char byte : turn) talk.Type(std::string(1, byte));
    talk.Go(Talk::Greedy(5));
    EXPECT_EQ(talk.Answer(), ResultOf(turn, "plain", 5, &server)) << turn;
  }
  EXPECT_TRUE(talk.Close().ok());
  EXPECT_EQ(Find("talk", &server), grpc::StatusCode::OK);
}

TEST(Converse, TakesTheNextTurnWhileAnAnswerComes) {
  FakeServer server;
  Create("plain", &server);
  server.control().Hold();
  Talk talk(&server);
  talk.Type("abc");
  talk.Go(Talk::Greedy(8));
  server.control().AwaitHeldStep();
  talk.Type("more");
  talk.Type(" of it");
  talk.Go(Talk::Greedy(8));
  server.control().Release();
  EXPECT_EQ(talk.Answer(), ResultOf("abc", "plain", 8, &server));
  EXPECT_EQ(talk.Answer(), ResultOf("more of it", "plain", 8, &server));
  EXPECT_TRUE(talk.Close().ok());
}

TEST(Converse, LeavesNothingBehindUnlessItsSessionIsNamedOrKept) {
  FakeServer server;
  std::string id;
  {
    Talk talk(&server);
    talk.Type("abc");
    id = talk.Read().begun().session_id();
    EXPECT_EQ(Find(id, &server), grpc::StatusCode::OK);
    EXPECT_TRUE(talk.Close().ok());
  }
  EXPECT_EQ(Find(id, &server), grpc::StatusCode::NOT_FOUND);

  grpc::ClientContext context;
  const auto stream = server.stub().Converse(&context);
  v1::ConverseRequest request;
  request.mutable_begin()->set_keep(true);
  stream->Write(request);
  request.set_text("what is left");
  stream->Write(request);
  stream->WritesDone();
  v1::ConverseResponse response;
  ASSERT_TRUE(stream->Read(&response));
  id = response.begun().session_id();
  int32_t tokens = 0;
  while (stream->Read(&response)) tokens = response.typed().session_tokens();
  EXPECT_TRUE(stream->Finish().ok());
  // BOS and all that was typed, the last word too.
  EXPECT_EQ(tokens, 13);
  EXPECT_EQ(Find(id, &server), grpc::StatusCode::OK);
}

TEST(Converse, RefusesWhatGoMayNotSay) {
  FakeServer server;
  Talk talk(&server);
  talk.Type("abc");
  v1::GenerateRequest go = Talk::Greedy(3);
  go.set_n(2);
  talk.Go(go);
  const grpc::Status status = talk.Close();
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_THAT(status.error_message(), HasSubstr("go.n"));
}

TEST(Converse, RefusesMessagesOutOfOrder) {
  FakeServer server;
  {
    Talk talk(&server);
    talk.Type("abc");
    talk.Begin("talk");
    EXPECT_EQ(talk.Close().error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  }
  Talk talk(&server);
  talk.Begin("nobody's");
  EXPECT_EQ(talk.Close().error_code(), grpc::StatusCode::NOT_FOUND);
}

TEST(Converse, EndsWithAClientThatSaysNothing) {
  FakeServer server;
  EXPECT_TRUE(Talk(&server).Close().ok());
  EXPECT_EQ(server.engine().stats().sessions, 0);
}

TEST(Converse, EndsWhenTheClientVanishesInAnAnswer) {
  FakeServer server;
  server.control().Hold();
  std::string id;
  {
    Talk talk(&server);
    talk.Type("abc");
    id = talk.Read().begun().session_id();
    talk.Go(Talk::Greedy(4000));
    server.control().AwaitHeldStep();
    talk.Cancel();
    EXPECT_EQ(talk.Close().error_code(), grpc::StatusCode::CANCELLED);
  }
  server.control().Release();
  // The session goes behind the call.
  for (int i = 0; i < 2000 && server.engine().stats().sessions > 0; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  EXPECT_EQ(server.engine().stats().sessions, 0);
  EXPECT_EQ(server.engine().stats().running, 0);
}

TEST(Converse, HoldsNoDrainUpWhileNothingHappens) {
  FakeServer server;
  Talk talk(&server);
  talk.Type("abc ");
  talk.Read();
  EXPECT_GT(talk.Read().typed().session_tokens(), 0);
  EXPECT_TRUE(server.server().Drain(absl::Now() + absl::Seconds(20)));
  EXPECT_FALSE(talk.Close().ok());
}

// In the midst of an answer: what has been said is all there is, and the talk goes on from there.
TEST(Converse, StopsAnAnswerAndKeepsWhatWasSaid) {
  FakeServer server;
  Create("talk", &server);
  Talk talk(&server);
  talk.Begin("talk");
  talk.Stop();  // there is no answer
  talk.Type("a wolf");
  talk.Go(Talk::Greedy(4000));
  std::vector<TokenId> said;
  while (said.size() < 5) {
    const v1::ConverseResponse response = talk.Read();
    for (const v1::Token& token : response.chunk().tokens()) said.push_back(token.id());
  }
  talk.Stop();
  for (const TokenId token : talk.Answer()) said.push_back(token);
  EXPECT_EQ(talk.final().finishes(0).reason(), v1::FINISH_REASON_STOPPED);
  EXPECT_EQ(talk.final().finishes(0).completion_tokens(), said.size());
  EXPECT_LT(said.size(), 4000);
  talk.Type(" came");
  talk.Go(Talk::Greedy(5));
  const std::vector<TokenId> answer = talk.Answer();
  EXPECT_EQ(talk.final().finishes(0).reason(), v1::FINISH_REASON_LENGTH);
  EXPECT_TRUE(talk.Close().ok());

  v1::GenerateRequest whole = Talk::Greedy(5);
  whole.mutable_token_ids()->add_ids(1);
  const std::vector<TokenId> before = *server.tokenizer().Encode("a wolf");
  const std::vector<TokenId> after = *server.tokenizer().Encode(" came");
  for (const std::vector<TokenId>& tokens : {before, said, after}) {
    whole.mutable_token_ids()->mutable_ids()->Add(tokens.begin(), tokens.end());
  }
  EXPECT_EQ(server.Generate(whole).ids(), answer);
}

// Before its first token, and even before it has begun: the turn is kept.
TEST(Converse, StopsWhatItHasNotBegunToAnswer) {
  FakeServer server;
  Create("talk", &server);
  Talk talk(&server);
  talk.Begin("talk");
  server.control().Hold();
  talk.Type("a wolf");
  talk.Go(Talk::Greedy(4000));
  talk.Stop();
  talk.Go(Talk::Greedy(3));
  server.control().AwaitHeldStep();
  server.control().Release();
  talk.Answer();
  EXPECT_EQ(talk.final().finishes(0).reason(), v1::FINISH_REASON_STOPPED);
  const auto said = talk.final().usage().completion_tokens();
  EXPECT_LT(said, 4000);
  EXPECT_EQ(talk.final().session_tokens(), 1 + server.tokenizer().Encode("a wolf")->size() + said);
  EXPECT_EQ(talk.Answer().size(), 3) << "the next is not stopped";
  EXPECT_EQ(talk.final().finishes(0).reason(), v1::FINISH_REASON_LENGTH);
  EXPECT_TRUE(talk.Close().ok());
}

TEST(Converse, GoesOnWithNoSessionThatIsOlderThanWhatTheClientHasSeen) {
  FakeServer server;
  Create("talk", &server);
  Talk first(&server);
  first.Begin("talk");
  first.Type("ab");
  first.Go(Talk::Greedy(3));
  first.Answer();
  const int32_t tokens = first.final().session_tokens();
  EXPECT_TRUE(first.Close().ok());
  const auto begin = [&](const std::string& session, int32_t session_tokens) {
    Talk talk(&server);
    talk.Begin(session, session_tokens);
    return talk.Close();
  };
  EXPECT_TRUE(begin("talk", tokens).ok());
  const grpc::Status older = begin("talk", tokens + 1);
  EXPECT_EQ(older.error_code(), grpc::StatusCode::ABORTED) << older.error_message();
  EXPECT_THAT(older.error_message(), HasSubstr("session_tokens is"));
  EXPECT_EQ(Find("talk", &server), grpc::StatusCode::OK);
  EXPECT_EQ(begin("talk", -1).error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(begin("", 1).error_code(), grpc::StatusCode::INVALID_ARGUMENT);

  Talk talk(&server);
  v1::GenerateRequest go = Talk::Greedy(1);
  go.set_session_tokens(1);
  talk.Type("a");
  talk.Go(go);
  EXPECT_THAT(talk.Close().error_message(), HasSubstr("go.session_tokens is set"));
}

}  // namespace
}  // namespace retnet
