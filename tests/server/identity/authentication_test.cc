// Who may call a server, and what is whose: the real server and channels over a real socket.
#include <algorithm>
#include <chrono>
#include <thread>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/server/identity/authentication_fixture.h"

namespace retnet {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;

TEST_F(Authentication, EveryCallButHealthNeedsAToken) {
  FakeServer server(Options());
  const auto unknown = ChannelOf("", server);
  const auto known = ChannelOf(alice_, server);
  for (const Call& call : AllCalls(unknown)) {
    grpc::ClientContext context;
    EXPECT_EQ(IsUnauthenticated(call.run(&context)), !absl::StartsWith(call.name, "Health"))
        << call.name;
  }
  for (const Call& call : AllCalls(known)) {
    grpc::ClientContext context;
    EXPECT_FALSE(IsUnauthenticated(call.run(&context))) << call.name;
  }
}

TEST_F(Authentication, SaysTheSameWhateverIsWrong) {
  FakeServer server(Options());
  const auto channel = ChannelOf("", server);
  const size_t dot = alice_.find('.');
  const std::string id = alice_.substr(0, dot);
  const std::string secret = alice_.substr(dot + 1);
  std::string other = alice_;
  other.back() = other.back() == '0' ? '1' : '0';
  EXPECT_TRUE(GetModel(channel, {"Bearer " + alice_}).ok());
  EXPECT_TRUE(GetModel(channel, {"bearer " + alice_}).ok());
  const grpc::Status nothing = GetModel(channel);
  EXPECT_TRUE(IsUnauthenticated(nothing));
  for (const std::vector<std::string>& wrong : std::vector<std::vector<std::string>>{
           {""},
           {"Bearer"},
           {"Bearer "},
           {alice_},
           {"Basic " + alice_},
           {"Bearer  " + alice_},
           {"Bearer " + id},
           {"Bearer " + id + "."},
           {"Bearer ." + secret},
           {"Bearer " + id + "." + secret.substr(1)},
           {"Bearer " + alice_ + "0"},
           {"Bearer " + other},
           {"Bearer x" + alice_},
           {"Bearer " + id + "." + bob_.substr(bob_.find('.') + 1)},
           {"Bearer " + std::string(4000, 'a')},
           {"Bearer " + alice_, "Bearer " + bob_},
           {"Bearer " + alice_, "Bearer " + alice_},
       }) {
    const grpc::Status status = GetModel(channel, wrong);
    EXPECT_TRUE(IsUnauthenticated(status)) << wrong[0];
    EXPECT_EQ(status.error_message(), nothing.error_message()) << wrong[0];
  }
}

TEST_F(Authentication, ARequestIsNotReadBefore) {
  FakeServer server(Options());
  grpc::ClientContext context;
  v1::GenerateRequest request = GreedyRequest(1);
  request.set_temperature(-1);  // INVALID_ARGUMENT for those who are known
  v1::CompleteResponse response;
  EXPECT_TRUE(IsUnauthenticated(
      v1::Generation::NewStub(ChannelOf("", server))->Complete(&context, request, &response)));
}

// Waits until a call with the token has this end: the file is looked at each second.
bool SoonIs(bool known, const std::shared_ptr<grpc::Channel>& channel, const std::string& token) {
  for (int i = 0; i < 300; ++i) {
    grpc::ClientContext context;
    context.AddMetadata("authorization", "Bearer " + token);
    v1::GetModelResponse response;
    if (v1::Generation::NewStub(channel)->GetModel(&context, {}, &response).ok() == known) {
      return true;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
  }
  return false;
}

TEST_F(Authentication, NoticesTokensThatAreMadeAndRevoked) {
  FakeServer server(Options());
  const auto channel = ChannelOf("", server);
  const std::string carol = NewToken("carol");
  EXPECT_TRUE(SoonIs(true, channel, carol));
  std::string text = ReadText(file_);
  const size_t begin = text.find("token alice");
  WriteText(file_, text.erase(begin, text.find('\n', begin) + 1 - begin));
  EXPECT_TRUE(SoonIs(false, channel, alice_));
  EXPECT_TRUE(GetModel(channel, {"Bearer " + bob_}).ok());
}

TEST_F(Authentication, KeepsItsTokensWhenTheFileIsBroken) {
  FakeServer server(Options());
  const auto channel = ChannelOf("", server);
  const std::string text = ReadText(file_);
  const std::string carol = NewToken("carol");
  WriteText(file_, ReadText(file_) + "token\n");
  const absl::Status broken = server.server().ReloadIdentity();
  EXPECT_THAT(broken.message(), HasSubstr("it must be: token NAME ID SALT HASH"));
  EXPECT_TRUE(GetModel(channel, {"Bearer " + alice_}).ok());
  EXPECT_TRUE(IsUnauthenticated(GetModel(channel, {"Bearer " + carol})));
  ASSERT_EQ(std::remove(file_.c_str()), 0);
  EXPECT_FALSE(server.server().ReloadIdentity().ok());
  EXPECT_TRUE(GetModel(channel, {"Bearer " + alice_}).ok());
  WriteText(file_, text.substr(0, text.find("token bob")));
  EXPECT_TRUE(server.server().ReloadIdentity().ok());
  EXPECT_TRUE(GetModel(channel, {"Bearer " + alice_}).ok());
  EXPECT_TRUE(IsUnauthenticated(GetModel(channel, {"Bearer " + bob_})));
}

// What a server without authentication answers, by the listener that asks for nothing.
TEST_F(Authentication, ThePrivateListenerAsksNobody) {
  FakeServerOptions options = Options();
  options.server.private_listen = "127.0.0.1:0";
  FakeServer server(options);
  grpc::ChannelArguments arguments;
  const auto inner = NewChannel(server.server().private_address(), {}, arguments);
  for (const Call& call : AllCalls(inner)) {
    grpc::ClientContext context;
    EXPECT_FALSE(IsUnauthenticated(call.run(&context))) << call.name;
  }
  // It names nobody either, whatever token a gateway passes on.
  Client gateway(inner);
  Client with_token(NewChannel(server.server().private_address(), WithToken(alice_), arguments));
  Client alice(ChannelOf(alice_, server));
  v1::CreateSessionRequest create;
  create.set_id("theirs");
  v1::Session session;
  ASSERT_TRUE(gateway.Do(&v1::Sessions::Stub::Create, create, &session).ok());
  EXPECT_THAT(with_token.List(), ::testing::Contains("theirs"));
  EXPECT_THAT(alice.List(), IsEmpty());
  // The other listener asks as before, also those who say that they come by this one.
  const auto outer = ChannelOf("", server);
  EXPECT_TRUE(IsUnauthenticated(GetModel(outer)));
  grpc::ClientContext context;
  context.AddMetadata("retnet-private-listener", "");
  v1::GetModelResponse response;
  EXPECT_TRUE(IsUnauthenticated(v1::Generation::NewStub(outer)->GetModel(&context, {}, &response)));
}

TEST_F(Authentication, ADrainWaitsForThePrivateListenerToo) {
  FakeServerOptions options = Options();
  options.server.private_listen = "127.0.0.1:0";
  FakeServer server(options);
  server.control().Hold();
  const auto inner = NewChannel(server.server().private_address(), {}, {});
  const auto stub = v1::Generation::NewStub(inner);
  grpc::ClientContext context;
  const auto running = stub->Generate(&context, GreedyRequest(4));
  server.control().AwaitHeldStep();
  std::thread drain([&server] { EXPECT_TRUE(server.server().Drain(absl::InfiniteFuture())); });
  // Health turns first.
  const auto health = grpc::health::v1::Health::NewStub(inner);
  for (int i = 0;; ++i) {
    grpc::ClientContext asking;
    grpc::health::v1::HealthCheckResponse response;
    ASSERT_TRUE(health->Check(&asking, {}, &response).ok());
    if (response.status() == grpc::health::v1::HealthCheckResponse::NOT_SERVING) break;
    ASSERT_LT(i, 300);
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
  }
  server.control().Release();
  EXPECT_TRUE(ReadAll<v1::GenerateResponse>(running.get()).ok());
  drain.join();
}

TEST_F(Authentication, CostsLessThanAMillisecond) {
  const auto authenticator = Authenticator::Open(file_);
  ASSERT_TRUE(authenticator.ok());
  const std::string long_one = "Bearer " + std::string(60 << 10, 'a');
  for (const std::string& header : {"Bearer " + alice_, "Bearer x" + alice_, long_one}) {
    constexpr int kTimes = 1000;
    const absl::Time begin = absl::Now();
    for (int i = 0; i < kTimes; ++i) (void)(*authenticator)->OfHeader(header);
    EXPECT_LT((absl::Now() - begin) / kTimes, absl::Milliseconds(1)) << header.substr(0, 80);
  }
}

}  // namespace
}  // namespace retnet
