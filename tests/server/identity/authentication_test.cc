// Who may call a server, and what is whose: the real server and channels over a real socket.
#include <algorithm>
#include <chrono>
#include <thread>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "client/access.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/server/all_calls.h"
#include "tests/server/fake_server.h"
#include "tests/server/identity/certificates.h"

namespace retnet {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;

Access WithToken(const std::string& token) {
  Access access;
  access.token = token;
  return access;
}

// A file of tokens that two have.
class Authentication : public ::testing::Test {
 protected:
  FakeServerOptions Options() const {
    FakeServerOptions options;
    options.model.slots = 6;
    options.server.identity.auth_tokens = file_;
    return options;
  }
  std::string NewToken(const std::string& name, const PrincipalLimits& limits = {}) const {
    return *AddToken(file_, name, limits);
  }
  static std::shared_ptr<grpc::Channel> ChannelOf(const std::string& token,
                                                  const FakeServer& server) {
    grpc::ChannelArguments arguments;
    arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
    return NewChannel(server.server().address(), WithToken(token), arguments);
  }
  static grpc::Status GetModel(const std::shared_ptr<grpc::Channel>& channel,
                               const std::vector<std::string>& authorizations = {}) {
    grpc::ClientContext context;
    for (const std::string& value : authorizations) context.AddMetadata("authorization", value);
    v1::GetModelResponse response;
    return v1::Generation::NewStub(channel)->GetModel(&context, {}, &response);
  }

  const std::string file_ = NewFolder() + "/tokens";
  const std::string alice_ = NewToken("alice");
  const std::string bob_ = NewToken("bob");
};

bool IsUnauthenticated(const grpc::Status& status) {
  return status.error_code() == grpc::StatusCode::UNAUTHENTICATED;
}

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

// A call of somebody, to its end.
struct Client {
  explicit Client(const std::shared_ptr<grpc::Channel>& channel)
      : generation(v1::Generation::NewStub(channel)), sessions(v1::Sessions::NewStub(channel)) {}

  template <typename Request, typename Response>
  grpc::Status Do(grpc::Status (v1::Sessions::Stub::*method)(grpc::ClientContext*, const Request&,
                                                             Response*),
                  const Request& request, Response* response) {
    grpc::ClientContext context;
    return (*sessions.*method)(&context, request, response);
  }
  grpc::Status Complete(const v1::GenerateRequest& request) {
    grpc::ClientContext context;
    return generation->Complete(&context, request, &completed);
  }
  std::vector<std::string> List() {
    v1::ListSessionsResponse list;
    EXPECT_TRUE(Do(&v1::Sessions::Stub::List, v1::ListSessionsRequest(), &list).ok());
    std::vector<std::string> ids;
    for (const v1::Session& session : list.sessions()) ids.push_back(session.id());
    return ids;
  }

  std::unique_ptr<v1::Generation::Stub> generation;
  std::unique_ptr<v1::Sessions::Stub> sessions;
  v1::CompleteResponse completed;
};

v1::GenerateRequest OnSession(const std::string& id) {
  v1::GenerateRequest request = GreedyRequest(3);
  request.set_session_id(id);
  request.set_keep(true);
  return request;
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
  const auto not_found = [](const grpc::Status& status) {
    return status.error_code() == grpc::StatusCode::NOT_FOUND;
  };
  v1::GetSessionRequest get;
  get.set_id("hers");
  EXPECT_TRUE(not_found(bob.Do(&S::Get, get, &session)));
  v1::RewindSessionRequest rewind;
  rewind.set_id("hers");
  rewind.set_to_tokens(1);
  EXPECT_TRUE(not_found(bob.Do(&S::Rewind, rewind, &session)));
  v1::ForkSessionRequest fork;
  fork.set_id("hers");
  v1::ForkSessionResponse forked;
  EXPECT_TRUE(not_found(bob.Do(&S::Fork, fork, &forked)));
  v1::DeleteSessionRequest remove;
  remove.set_id("hers");
  EXPECT_TRUE(not_found(bob.Do(&S::Delete, remove, &session)));
  EXPECT_TRUE(not_found(bob.Complete(OnSession("hers"))));
  {
    grpc::ClientContext context;
    v1::ExportSessionRequest request;
    request.set_id("hers");
    EXPECT_TRUE(
        not_found(ReadAll<v1::ExportSessionResponse>(bob.sessions->Export(&context, request))));
  }
  {
    grpc::ClientContext context;
    v1::ScoreRequest request;
    request.set_session_id("hers");
    request.mutable_token_ids()->add_ids(5);
    EXPECT_TRUE(not_found(ReadAll<v1::ScoreResponse>(bob.generation->Score(&context, request))));
  }
  {
    grpc::ClientContext context;
    const auto stream = bob.generation->Converse(&context);
    v1::ConverseRequest begin;
    begin.mutable_begin()->set_session_id("hers");
    stream->Write(begin);
    stream->WritesDone();
    v1::ConverseResponse response;
    while (stream->Read(&response)) {
    }
    EXPECT_TRUE(not_found(stream->Finish()));
  }
  // The id is free for him, and hers is as it was.
  EXPECT_TRUE(bob.Do(&S::Create, create, &session).ok());
  EXPECT_EQ(session.tokens(), 0);
  EXPECT_TRUE(bob.Do(&S::Delete, remove, &session).ok());
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

TEST_F(Authentication, LimitsHowManyRequestsRunAtOnce) {
  PrincipalLimits limits;
  limits.requests = 2;
  const std::string limited = NewToken("limited", limits);
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
  PrincipalLimits limits;
  limits.tokens_per_minute = 20;
  const std::string limited = NewToken("limited", limits);
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

TEST_F(Authentication, LimitsThePriority) {
  PrincipalLimits limits;
  limits.max_priority = 2;
  const std::string limited = NewToken("limited", limits);
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
