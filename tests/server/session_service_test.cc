// The service of sessions.
#include <string>
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

using SessionCalls = SessionsTest;

TEST_F(SessionCalls, HaveLabelsAndExpire) {
  v1::CreateSessionRequest request;
  request.set_id("labelled");
  (*request.mutable_labels())["user"] = "7";
  request.set_ttl_seconds(3600);
  Create(request);
  const v1::Session session = Get("labelled");
  EXPECT_EQ(session.labels().at("user"), "7");
  EXPECT_EQ(session.expires().seconds() - session.last_used().seconds(), 3600);
  EXPECT_FALSE(session.busy());
  EXPECT_FALSE(Create("forever").has_expires());
  request.set_ttl_seconds(0);
  request.set_id("never");
  Create(request, grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_THAT(status_.error_message(), HasSubstr("ttl_seconds"));
}

TEST_F(SessionCalls, AreListedPageByPage) {
  for (const char* id : {"d", "a", "c", "b", "e"}) Create(id);
  v1::ListSessionsResponse page = List(2);
  ASSERT_EQ(page.sessions_size(), 2);
  EXPECT_EQ(page.sessions(0).id(), "a");
  EXPECT_EQ(page.sessions(1).id(), "b");
  page = List(2, page.next_page_token());
  ASSERT_EQ(page.sessions_size(), 2);
  EXPECT_EQ(page.sessions(0).id(), "c");
  EXPECT_EQ(page.sessions(1).id(), "d");
  page = List(2, page.next_page_token());
  ASSERT_EQ(page.sessions_size(), 1);
  EXPECT_EQ(page.sessions(0).id(), "e");
  EXPECT_THAT(page.next_page_token(), IsEmpty());
  EXPECT_THAT(List(5).next_page_token(), IsEmpty());
  List(1001);
  EXPECT_EQ(status_.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
}

TEST_F(SessionCalls, ForkIntoCopiesThatGoTheirOwnWay) {
  Create("root");
  const std::vector<TokenId> answer = Answer(On("root", kFirst));
  v1::ForkSessionRequest request;
  request.set_id("root");
  request.add_new_ids("left");
  request.add_new_ids("");
  const v1::ForkSessionResponse forks = Fork(request);
  ASSERT_EQ(forks.sessions_size(), 2);
  EXPECT_EQ(forks.sessions(0).id(), "left");
  EXPECT_THAT(forks.sessions(1).id(), SizeIs(32));
  EXPECT_EQ(forks.sessions(1).tokens(), 13);

  const std::vector<TokenId> history = Joined({kFirst, answer});
  EXPECT_EQ(Answer(On("left", {4})), Answer(On("", Joined({history, {4}}))));
  EXPECT_EQ(Answer(On(forks.sessions(1).id(), {6})), Answer(On("", Joined({history, {6}}))));
  EXPECT_EQ(Get("root").tokens(), 13);
  EXPECT_EQ(Answer(On("root", kSecond)), Answer(On("", Joined({history, kSecond}))));

  Fork(request, grpc::StatusCode::ALREADY_EXISTS);
  request.set_count(2);
  Fork(request, grpc::StatusCode::INVALID_ARGUMENT);
  request.clear_new_ids();
  EXPECT_EQ(Fork(request).sessions_size(), 2);
}

TEST_F(SessionCalls, RewindByTokensAndToALength) {
  Create("talk");
  const std::vector<TokenId> answer = Answer(On("talk", kFirst));
  v1::RewindSessionRequest request;
  request.set_id("talk");
  request.set_drop_tokens(3);
  EXPECT_EQ(Rewind(request).tokens(), 10);
  const std::vector<TokenId> kept(answer.begin(), answer.begin() + 3);
  EXPECT_EQ(Answer(On("talk", kSecond)), Answer(On("", Joined({kFirst, kept, kSecond}))));

  request.set_to_tokens(7);
  EXPECT_EQ(Rewind(request).tokens(), 7);
  v1::GenerateRequest again = On("talk", {});
  EXPECT_EQ(Answer(again), answer);

  request.set_to_tokens(14);
  Rewind(request, grpc::StatusCode::OUT_OF_RANGE);
  request.set_drop_tokens(14);
  Rewind(request, grpc::StatusCode::OUT_OF_RANGE);
  request.set_drop_tokens(-1);
  Rewind(request, grpc::StatusCode::INVALID_ARGUMENT);
  request.clear_by();
  Rewind(request, grpc::StatusCode::INVALID_ARGUMENT);
  request.set_to_tokens(0);
  EXPECT_EQ(Rewind(request).tokens(), 0);
  EXPECT_EQ(Answer(On("talk", kFirst)), answer);
}

TEST_F(SessionCalls, AreFoundByTheirIdAlone) {
  Create("talk");
  Create("talk", grpc::StatusCode::ALREADY_EXISTS);
  EXPECT_EQ(Delete("talk").id(), "talk");
  Delete("talk", grpc::StatusCode::NOT_FOUND);
  EXPECT_EQ(server_.Generate(On("talk", kFirst)).status.error_code(), grpc::StatusCode::NOT_FOUND);
  Export("talk");
  EXPECT_EQ(status_.error_code(), grpc::StatusCode::NOT_FOUND);
  for (const std::string id : {"a/b", "\n", "caf\xC3\xA9"}) {
    Create(id, grpc::StatusCode::INVALID_ARGUMENT);
    Get(id, grpc::StatusCode::INVALID_ARGUMENT);
    EXPECT_EQ(server_.Generate(On(id, kFirst)).status.error_code(),
              grpc::StatusCode::INVALID_ARGUMENT);
  }
  Get("", grpc::StatusCode::INVALID_ARGUMENT);
  Create(std::string(257, 'x'), grpc::StatusCode::INVALID_ARGUMENT);
  Create(std::string(256, '.'));
}

TEST_F(SessionCalls, TravelAsBytes) {
  Create("here");
  const std::vector<TokenId> answer = Answer(On("here", kFirst));
  const std::string bytes = Export("here");
  ASSERT_TRUE(status_.ok()) << status_.error_message();
  EXPECT_EQ(Import("there", bytes, grpc::StatusCode::OK).tokens(), 13);
  EXPECT_EQ(Answer(On("there", kSecond)), Answer(On("here", kSecond)));

  std::string torn = bytes;
  torn[torn.size() / 2] ^= 1;
  Import("torn", torn, grpc::StatusCode::DATA_LOSS);
  Import("short", bytes.substr(0, bytes.size() - 1), grpc::StatusCode::DATA_LOSS);
  Import("none", "", grpc::StatusCode::DATA_LOSS);
  Import("there", bytes, grpc::StatusCode::ALREADY_EXISTS);
  EXPECT_THAT(Ids(), ElementsAre("here", "there"));
}

TEST_F(SessionCalls, AreServedHealthily) {
  EXPECT_EQ(server_.Health("retnet.v1.Sessions"), grpc::health::v1::HealthCheckResponse::SERVING);
}

}  // namespace
}  // namespace retnet
