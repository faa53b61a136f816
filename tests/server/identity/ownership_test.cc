// What is whose: sessions and cached prefixes.
#include <memory>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/server/identity/authentication_fixture.h"

namespace retnet {
namespace {

using ::testing::IsEmpty;

template <typename Request>
Request Of(const std::string& id) {
  Request request;
  request.set_id(id);
  return request;
}

// Every call that names a session.
std::vector<Call> CallsOnSession(const std::string& id,
                                 const std::shared_ptr<grpc::Channel>& channel) {
  const std::shared_ptr generation = v1::Generation::NewStub(channel);
  const std::shared_ptr sessions = v1::Sessions::NewStub(channel);
  using S = v1::Sessions::Stub;
  v1::RewindSessionRequest rewind = Of<v1::RewindSessionRequest>(id);
  rewind.set_to_tokens(1);
  v1::ScoreRequest score;
  score.set_session_id(id);
  score.mutable_token_ids()->add_ids(5);
  return {
      Unary("Get", sessions, &S::Get, Of<v1::GetSessionRequest>(id)),
      Unary("Rewind", sessions, &S::Rewind, rewind),
      Unary("Fork", sessions, &S::Fork, Of<v1::ForkSessionRequest>(id)),
      Unary("Delete", sessions, &S::Delete, Of<v1::DeleteSessionRequest>(id)),
      Unary("Complete", generation, &v1::Generation::Stub::Complete, OnSession(id)),
      {"Generate",
       [=](grpc::ClientContext* context) {
         return ReadAll<v1::GenerateResponse>(generation->Generate(context, OnSession(id)));
       }},
      {"Export",
       [=](grpc::ClientContext* context) {
         return ReadAll<v1::ExportSessionResponse>(
             sessions->Export(context, Of<v1::ExportSessionRequest>(id)));
       }},
      {"Score",
       [=](grpc::ClientContext* context) {
         return ReadAll<v1::ScoreResponse>(generation->Score(context, score));
       }},
      {"Converse",
       [=](grpc::ClientContext* context) {
         const auto stream = generation->Converse(context);
         v1::ConverseRequest begin;
         begin.mutable_begin()->set_session_id(id);
         stream->Write(begin);
         stream->WritesDone();
         v1::ConverseResponse response;
         while (stream->Read(&response)) {
         }
         return stream->Finish();
       }},
  };
}

TEST_F(Authentication, NobodyReachesTheSessionsOfAnother) {
  FakeServer server(Options());
  Client alice(ChannelOf(alice_, server));
  Client bob(ChannelOf(bob_, server));
  using S = v1::Sessions::Stub;
  v1::CreateSessionRequest create;
  create.set_id("hers");
  v1::Session session;
  ASSERT_TRUE(alice.Do(&S::Create, create, &session).ok());
  ASSERT_TRUE(alice.Complete(OnSession("hers")).ok());

  EXPECT_THAT(bob.List(), IsEmpty());
  for (const Call& call : CallsOnSession("hers", ChannelOf(bob_, server))) {
    grpc::ClientContext context;
    EXPECT_EQ(call.run(&context).error_code(), grpc::StatusCode::NOT_FOUND) << call.name;
  }
  // The id is free for him, and hers is as it was.
  EXPECT_TRUE(bob.Do(&S::Create, create, &session).ok());
  EXPECT_EQ(session.tokens(), 0);
  v1::DeleteSessionRequest remove;
  remove.set_id("hers");
  EXPECT_TRUE(bob.Do(&S::Delete, remove, &session).ok());
  v1::GetSessionRequest get;
  get.set_id("hers");
  ASSERT_TRUE(alice.Do(&S::Get, get, &session).ok());
  EXPECT_EQ(session.tokens(), 4);
  EXPECT_THAT(alice.List(), ::testing::ElementsAre("hers"));
}

TEST_F(Authentication, NobodyGainsFromThePrefixesOfAnother) {
  FakeServer server(Options());
  Client alice(ChannelOf(alice_, server));
  Client bob(ChannelOf(bob_, server));
  v1::GenerateRequest request = GreedyRequest(2);
  for (int i = 0; i < 200; ++i) request.mutable_token_ids()->add_ids(3 + i % 50);
  ASSERT_TRUE(alice.Complete(request).ok());
  ASSERT_TRUE(alice.Complete(request).ok());
  ASSERT_GT(alice.completed.usage().cached_tokens(), 0);
  ASSERT_TRUE(bob.Complete(request).ok());
  EXPECT_EQ(bob.completed.usage().cached_tokens(), 0);
}

TEST_F(Authentication, TwoTokensOfOneNameAreOnePrincipal) {
  const std::string again = *AddToken(file_, "alice", std::nullopt);
  FakeServer server(Options());
  Client first(ChannelOf(alice_, server));
  Client second(ChannelOf(again, server));
  v1::CreateSessionRequest create;
  create.set_id("hers");
  v1::Session session;
  ASSERT_TRUE(first.Do(&v1::Sessions::Stub::Create, create, &session).ok());
  EXPECT_THAT(second.List(), ::testing::ElementsAre("hers"));
}

}  // namespace
}  // namespace retnet
