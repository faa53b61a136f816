// The limits of a principal.
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/server/identity/authentication_fixture.h"

namespace retnet {
namespace {

using ::testing::HasSubstr;

TEST_F(Authentication, LimitsHowManyRequestsRunAtOnce) {
  const std::string limited = NewToken("limited", {.requests = 2, .max_priority = {}});
  FakeServer server(Options());
  server.control().Hold();
  const auto stub = v1::Generation::NewStub(ChannelOf(limited, server));
  grpc::ClientContext context;
  v1::GenerateRequest two = GreedyRequest(4);
  two.set_n(2);
  const auto running = stub->Generate(&context, two);
  server.control().AwaitHeldStep();
  for (const Call& call : AllCalls(ChannelOf(limited, server))) {
    if (call.name != "Complete" && call.name != "Generate") continue;
    grpc::ClientContext third;
    const grpc::Status refused = call.run(&third);
    EXPECT_EQ(refused.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED) << call.name;
    EXPECT_THAT(refused.error_message(), HasSubstr("you may have 2 at once")) << call.name;
  }
  // Others are not concerned.
  grpc::ClientContext of_bob;
  const auto bob = v1::Generation::NewStub(ChannelOf(bob_, server));
  const auto beside = bob->Generate(&of_bob, GreedyRequest(2));
  server.control().Release();
  EXPECT_TRUE(ReadAll<v1::GenerateResponse>(beside.get()).ok());
  EXPECT_TRUE(ReadAll<v1::GenerateResponse>(running.get()).ok());
  // However the requests end, each gives its place back.
  Client again(ChannelOf(limited, server));
  for (int i = 0; i < 3; ++i) {
    EXPECT_TRUE(again.Complete(two).ok()) << again.completed.DebugString();
    v1::GenerateRequest wrong = two;
    wrong.set_min_tokens(1000);
    EXPECT_EQ(again.Complete(wrong).error_code(), grpc::StatusCode::INVALID_ARGUMENT);
    EXPECT_EQ(again.Complete(OnSession("none")).error_code(), grpc::StatusCode::NOT_FOUND);
  }
  v1::GenerateRequest three = two;
  three.set_n(3);
  EXPECT_EQ(again.Complete(three).error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
}

TEST_F(Authentication, LimitsTokensAMinute) {
  const std::string limited = NewToken("limited", {.tokens_per_minute = 20, .max_priority = {}});
  FakeServer server(Options());
  Client client(ChannelOf(limited, server));
  v1::GenerateRequest request = GreedyRequest(9);
  request.set_ignore_eos(true);
  // 10 tokens each, of which the prompt is one.
  EXPECT_TRUE(client.Complete(request).ok());
  EXPECT_TRUE(client.Complete(request).ok());
  // A busy machine may have taken long enough for a token to come back.
  grpc::Status refused = client.Complete(request);
  if (refused.ok()) refused = client.Complete(request);
  EXPECT_EQ(refused.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_THAT(refused.error_message(), HasSubstr("20 tokens a minute; try again in "));
  EXPECT_TRUE(Client(ChannelOf(alice_, server)).Complete(request).ok());
}

TEST_F(Authentication, WhatHasBeenUsedCountsWhenTheFileIsReadAgain) {
  const std::string limited = NewToken("limited", {.tokens_per_minute = 20, .max_priority = {}});
  FakeServer server(Options());
  Client client(ChannelOf(limited, server));
  v1::GenerateRequest request = GreedyRequest(200);
  request.set_ignore_eos(true);
  EXPECT_TRUE(client.Complete(request).ok());
  EXPECT_TRUE(server.server().ReloadIdentity().ok());
  EXPECT_EQ(client.Complete(request).error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  NewToken("limited", {.tokens_per_minute = 100000, .max_priority = {}});
  EXPECT_TRUE(server.server().ReloadIdentity().ok());
  EXPECT_TRUE(client.Complete(request).ok());
}

TEST_F(Authentication, LimitsThePriority) {
  const std::string limited = NewToken("limited", {.max_priority = 2});
  FakeServer server(Options());
  Client client(ChannelOf(limited, server));
  v1::GenerateRequest request = GreedyRequest(2);
  request.set_priority(2);
  EXPECT_TRUE(client.Complete(request).ok());
  request.set_priority(3);
  const grpc::Status refused = client.Complete(request);
  EXPECT_EQ(refused.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_THAT(refused.error_message(), HasSubstr("priority is 3; yours may be at most 2"));
}

}  // namespace
}  // namespace retnet
