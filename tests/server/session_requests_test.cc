// Requests that go on from a session.
#include <chrono>
#include <functional>
#include <future>
#include <string>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/server/session_fixture.h"

namespace retnet {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

using SessionRequests = SessionsTest;

TEST_F(SessionRequests, GoOnAsIfEverythingHadBeenSentAgain) {
  Create("talk");
  const std::vector<TokenId> answer = Answer(On("talk", kFirst));
  EXPECT_EQ(final_.session_id(), "talk");
  EXPECT_EQ(final_.session_tokens(), 13);
  EXPECT_EQ(answer, Answer(On("", kFirst)));
  EXPECT_THAT(final_.session_id(), IsEmpty());

  const std::vector<TokenId> again = Answer(On("talk", kSecond));
  EXPECT_EQ(final_.session_tokens(), 22);
  EXPECT_EQ(final_.usage().prompt_tokens(), 16);
  // All but the pending token.
  EXPECT_EQ(final_.usage().cached_tokens(), 12);
  EXPECT_EQ(again, Answer(On("", Joined({kFirst, answer, kSecond}))));
  EXPECT_EQ(Get("talk").tokens(), 22);
}

TEST_F(SessionRequests, GoOnWithoutAPrompt) {
  Create("talk");
  const std::vector<TokenId> begin = Answer(On("talk", kFirst, 4));
  v1::GenerateRequest request = On("talk", {}, 5);
  request.clear_prompt();
  const std::vector<TokenId> rest = Answer(request);
  EXPECT_EQ(Joined({begin, rest}), Answer(On("", kFirst, 9)));
}

TEST_F(SessionRequests, BeginWithBosOnce) {
  Create("talk");
  v1::GenerateRequest request = On("talk", {}, 2);
  request.set_text("ab");
  Answer(request);
  EXPECT_EQ(final_.session_tokens(), 4);  // BOS, "ab", the answer
  Answer(request);
  EXPECT_EQ(final_.session_tokens(), 7);
  request.set_add_bos(true);
  Answer(request);
  EXPECT_EQ(final_.session_tokens(), 11);
  Create("bare");
  request.set_session_id("bare");
  request.set_add_bos(false);
  Answer(request);
  EXPECT_EQ(final_.session_tokens(), 3);
}

TEST_F(SessionRequests, AreRefusedWhereTheSessionIsOlderThanWhatTheClientHasSeen) {
  Create("talk");
  Answer(On("talk", kFirst));
  const int32_t tokens = final_.session_tokens();
  v1::GenerateRequest request = On("talk", kSecond);
  request.set_session_tokens(tokens + 1);
  const grpc::Status older = server_.Generate(request).status;
  EXPECT_EQ(older.error_code(), grpc::StatusCode::ABORTED);
  EXPECT_THAT(older.error_message(),
              HasSubstr("session talk has " + std::to_string(tokens) +
                        " tokens and session_tokens is " + std::to_string(tokens + 1)));
  EXPECT_EQ(Get("talk").tokens(), tokens) << "it stays as it is";
  request.set_session_tokens(tokens);
  Answer(request);
  EXPECT_GT(final_.session_tokens(), tokens);
  request.set_session_tokens(tokens);  // somebody else has gone on: it is not older
  Answer(request);
  request.set_session_tokens(0);
  Answer(request);
}

TEST_F(SessionRequests, ScoreOnNoSessionThatIsOlderThanWhatTheClientHasSeen) {
  Create("talk");
  Answer(On("talk", kFirst));
  const auto score = [&](int32_t session_tokens) {
    grpc::ClientContext context;
    v1::ScoreRequest request;
    request.set_session_id("talk");
    request.mutable_token_ids()->add_ids(5);
    request.set_session_tokens(session_tokens);
    const auto reader = server_.stub().Score(&context, request);
    v1::ScoreResponse response;
    while (reader->Read(&response)) {
    }
    return reader->Finish().error_code();
  };
  EXPECT_EQ(score(final_.session_tokens()), grpc::StatusCode::OK);
  EXPECT_EQ(score(final_.session_tokens() + 1), grpc::StatusCode::ABORTED);
  EXPECT_EQ(score(-1), grpc::StatusCode::INVALID_ARGUMENT);
}

TEST_F(SessionRequests, NameASessionWhereTheyTellItsTokens) {
  Create("talk");
  v1::GenerateRequest request = On("", kFirst);
  request.set_session_tokens(0);
  EXPECT_THAT(server_.Generate(request).status.error_message(),
              HasSubstr("session_tokens is 0; it must be left out where there is no session_id"));
  request.set_session_id("talk");
  request.set_session_tokens(-1);
  EXPECT_THAT(server_.Generate(request).status.error_message(),
              HasSubstr("session_tokens is -1; it must be at least 0"));
}

TEST_F(SessionRequests, AreMadeAndDeletedByARequest) {
  v1::GenerateRequest request = On("", kFirst);
  request.set_keep(true);
  Answer(request);
  const std::string id = final_.session_id();
  EXPECT_THAT(id, SizeIs(32));
  EXPECT_THAT(Ids(), ElementsAre(id));
  v1::GenerateRequest last = On(id, kSecond);
  last.set_keep(false);
  Answer(last);
  EXPECT_THAT(final_.session_id(), IsEmpty());
  EXPECT_THAT(Ids(), IsEmpty());
  Get(id, grpc::StatusCode::NOT_FOUND);
}

TEST_F(SessionRequests, OfARequestThatFailsAreNotLeftBehind) {
  v1::GenerateRequest request = On("", {100000});
  request.set_keep(true);
  EXPECT_EQ(server_.Generate(request).status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_THAT(Ids(), IsEmpty());
}

TEST_F(SessionRequests, AreReportedByCompleteToo) {
  Create("talk");
  grpc::ClientContext context;
  v1::CompleteResponse response;
  ASSERT_TRUE(server_.stub().Complete(&context, On("talk", kFirst), &response).ok());
  EXPECT_EQ(response.session_id(), "talk");
  EXPECT_EQ(response.session_tokens(), 13);
}

TEST_F(SessionRequests, RunOneRequestAtATime) {
  Create("talk");
  server_.control().Hold();
  grpc::ClientContext context;
  const auto running = server_.stub().Generate(&context, On("talk", kFirst, 2000));
  // Step by step, so that it is still running when the other calls have been answered.
  const auto stepping = [this](std::function<void()> call) {
    const std::future<void> called = std::async(std::launch::async, std::move(call));
    while (called.wait_for(std::chrono::milliseconds(1)) != std::future_status::ready) {
      server_.control().AwaitHeldStep();
      server_.control().Pass();
    }
  };
  v1::GenerateResponse response;
  stepping([&] { ASSERT_TRUE(running->Read(&response)); });
  std::vector<TokenId> answer;
  for (const v1::Token& token : response.chunk().tokens()) answer.push_back(token.id());
  stepping([&] {
    EXPECT_EQ(server_.Generate(On("talk", kSecond)).status.error_code(), grpc::StatusCode::ABORTED);
    EXPECT_TRUE(Get("talk").busy());
    Delete("talk", grpc::StatusCode::ABORTED);
  });

  v1::GenerateRequest patient = On("talk", kSecond);
  patient.set_when_busy(v1::WHEN_BUSY_WAIT);
  grpc::ClientContext waiting_context;
  const auto waiting = server_.stub().Generate(&waiting_context, patient);
  server_.control().Release();
  while (running->Read(&response)) {
    for (const v1::Token& token : response.chunk().tokens()) answer.push_back(token.id());
  }
  EXPECT_TRUE(running->Finish().ok());
  std::vector<TokenId> again;
  while (waiting->Read(&response)) {
    for (const v1::Token& token : response.chunk().tokens()) again.push_back(token.id());
  }
  EXPECT_TRUE(waiting->Finish().ok());
  EXPECT_EQ(again, Answer(On("", Joined({kFirst, answer, kSecond}))));
}

TEST_F(SessionRequests, TakeOneSampleOnly) {
  Create("talk");
  v1::GenerateRequest request = On("talk", kFirst);
  request.set_n(2);
  const grpc::Status status = server_.Generate(request).status;
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_THAT(status.error_message(), HasSubstr("n is 2"));
  EXPECT_THAT(status.error_message(), HasSubstr("session_id"));
  request.clear_session_id();
  request.set_keep(true);
  EXPECT_THAT(server_.Generate(request).status.error_message(), HasSubstr("keep"));
}

TEST_F(SessionRequests, ScoreWhatCouldFollowAndStayAsTheyAre) {
  Create("talk");
  Answer(On("talk", kFirst));
  const v1::Session before = Get("talk");
  v1::GenerateRequest request = On("talk", {}, 4);
  request.set_logprobs(0);
  v1::ForkSessionRequest fork;
  fork.set_id("talk");
  fork.add_new_ids("fork");
  Fork(fork);
  request.set_session_id("fork");
  const Streamed answer = server_.Generate(request);

  v1::ScoreRequest score;
  score.set_session_id("talk");
  for (const TokenId id : answer.ids()) score.mutable_token_ids()->add_ids(id);
  grpc::ClientContext context;
  const auto reader = server_.stub().Score(&context, score);
  std::vector<float> logprobs;
  v1::ScoreResponse response;
  while (reader->Read(&response)) {
    for (const v1::ScoredToken& token : response.chunk().tokens()) {
      ASSERT_TRUE(token.has_logprob());
      logprobs.push_back(token.logprob());
    }
    if (response.has_totals()) {
      EXPECT_EQ(response.totals().scored_tokens(), 4);
    }
  }
  ASSERT_TRUE(reader->Finish().ok());
  ASSERT_EQ(logprobs.size(), 4);
  for (int i = 0; i < 4; ++i) EXPECT_EQ(logprobs[i], answer.tokens()[i].logprob());
  EXPECT_EQ(Get("talk").version(), before.version());
  EXPECT_EQ(Get("talk").tokens(), before.tokens());

  grpc::ClientContext empty_context;
  score.clear_prompt();
  const auto empty = server_.stub().Score(&empty_context, score);
  EXPECT_FALSE(empty->Read(&response));
  EXPECT_EQ(empty->Finish().error_code(), grpc::StatusCode::INVALID_ARGUMENT);
}

TEST_F(SessionRequests, GuessAheadWithoutChangingTheAnswer) {
  FakeServer repetitive(Reciting(std::string(64, 'a') + std::string(64, 'b')));
  v1::GenerateRequest request = GreedyRequest(100);
  const Streamed plain = repetitive.Generate(request);
  request.set_max_draft_tokens(6);
  const Streamed guessed = repetitive.Generate(request);
  EXPECT_EQ(guessed.ids(), plain.ids());
  EXPECT_EQ(plain.finals.at(0).usage().drafted_tokens(), 0);
  EXPECT_GT(guessed.finals.at(0).usage().accepted_tokens(), 30);
  EXPECT_GE(guessed.finals[0].usage().drafted_tokens(),
            guessed.finals[0].usage().accepted_tokens());
  request.set_max_draft_tokens(32);
  EXPECT_THAT(repetitive.Generate(request).status.error_message(), HasSubstr("max_draft_tokens"));
}

TEST_F(SessionRequests, OfSamplesComputeTheirPromptOnce) {
  v1::GenerateRequest request = On("", std::vector<TokenId>(40, 9), 3);
  request.set_n(4);
  request.set_temperature(1);
  request.set_seed(4);
  const Streamed streamed = server_.Generate(request);
  ASSERT_TRUE(streamed.status.ok()) << streamed.status.error_message();
  int prompt_rows = 0;
  for (const auto& step : server_.control().steps()) {
    for (const auto& rows : step) {
      if (rows.row_class == RowClass::kPrompt) prompt_rows += rows.rows;
    }
  }
  // All but the last token once, and that one for each sample.
  EXPECT_EQ(prompt_rows, 39 + 4);
}

}  // namespace
}  // namespace retnet
