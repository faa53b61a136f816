// Texts that are added to a session, and texts that calls on one session give one after the other.
#include <string>

#include "gtest/gtest.h"
#include "tests/server/fake_server.h"

namespace retnet {
namespace {

void Create(FakeServer* server, const std::string& id) {
  grpc::ClientContext context;
  v1::CreateSessionRequest request;
  request.set_id(id);
  v1::Session response;
  ASSERT_TRUE(server->sessions().Create(&context, request, &response).ok());
}

v1::CompleteResponse Complete(FakeServer* server, const v1::GenerateRequest& request) {
  grpc::ClientContext context;
  v1::CompleteResponse response;
  const grpc::Status status = server->stub().Complete(&context, request, &response);
  EXPECT_TRUE(status.ok()) << status.error_message();
  if (response.choices().empty()) response.add_choices();
  return response;
}

v1::GenerateRequest GoOn(int max_tokens) {
  v1::GenerateRequest request;
  request.set_session_id("s");
  request.set_max_tokens(max_tokens);
  request.set_temperature(0);
  return request;
}

TEST(SessionTexts, ACharacterOverSeveralCallsArrivesWhole) {
  const std::string character = "\xF0\x9F\x91\xA9";
  FakeServer server(Reciting(character + "y"));
  Create(&server, "s");
  v1::GenerateRequest first = GoOn(1);
  first.mutable_token_ids()->add_ids(FakeTokenizer::ByteToken('x'));
  std::string text = Complete(&server, first).choices(0).text();
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(text, "");
    text += Complete(&server, GoOn(1)).choices(0).text();
  }
  EXPECT_EQ(text, character);
  EXPECT_EQ(Complete(&server, GoOn(1)).choices(0).text(), "y");
}

TEST(SessionTexts, AStopStringThatTheClientDidNotGetIsNotInTheHistory) {
  FakeServer server(Reciting("abcSTOPdef"));
  for (const bool include : {false, true}) {
    Create(&server, "s");
    v1::GenerateRequest request = GoOn(20);
    request.mutable_token_ids()->add_ids(FakeTokenizer::ByteToken('x'));
    request.add_stop("STOP");
    request.set_include_stop_str_in_output(include);
    const v1::CompleteResponse response = Complete(&server, request);
    EXPECT_EQ(response.choices(0).text(), include ? "abcSTOP" : "abc");
    EXPECT_EQ(response.choices(0).finish().completion_tokens(), 7);
    EXPECT_EQ(response.session_tokens(), include ? 8 : 4);
    EXPECT_EQ(Complete(&server, GoOn(3)).choices(0).text(), include ? "def" : "STO");
    grpc::ClientContext context;
    v1::DeleteSessionRequest remove;
    remove.set_id("s");
    v1::Session removed;
    ASSERT_TRUE(server.sessions().Delete(&context, remove, &removed).ok());
  }
}

}  // namespace
}  // namespace retnet
