// TLS, with and without certificates of clients: the real server over a real socket.
#include <chrono>
#include <filesystem>
#include <thread>

#include "absl/strings/str_cat.h"
#include "client/access.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/server/fake_server.h"
#include "tests/server/identity/certificates.h"

namespace retnet {
namespace {

using ::testing::HasSubstr;

class Tls : public ::testing::Test {
 protected:
  // One CA for all tests: openssl takes its time.
  static void SetUpTestSuite() {
    authority_ = std::make_unique<TestAuthority>();
    other_ = std::make_unique<TestAuthority>();
    server_files_ = authority_->SignServer();
    alice_ = authority_->Sign("/O=test/CN=alice");
  }
  static void TearDownTestSuite() {
    authority_.reset();
    other_.reset();
  }

  static IdentityOptions Options(bool client_ca) {
    IdentityOptions options;
    options.tls = {server_files_.certificate, server_files_.key,
                   client_ca ? authority_->certificate() : ""};
    return options;
  }
  static FakeServerOptions Serving(const IdentityOptions& identity) {
    FakeServerOptions options;
    options.server.identity = identity;
    return options;
  }
  static Access With(const CertificateFiles& files, const std::string& token = "") {
    return {.token = token,
            .tls = true,
            .ca = ReadText(authority_->certificate()),
            .certificate = files.certificate.empty() ? "" : ReadText(files.certificate),
            .key = files.key.empty() ? "" : ReadText(files.key)};
  }
  static Access Trusting(const TestAuthority& authority) {
    return {.token = "",
            .tls = true,
            .ca = ReadText(authority.certificate()),
            .certificate = "",
            .key = ""};
  }
  // A connection of its own, as a client that comes anew has.
  static std::shared_ptr<grpc::Channel> Connect(const FakeServer& server, const Access& access) {
    grpc::ChannelArguments arguments;
    arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
    return NewChannel(server.server().address(), access, arguments);
  }
  static grpc::StatusCode Call(const FakeServer& server, const Access& access) {
    grpc::ClientContext context;
    v1::GetModelResponse response;
    return v1::Generation::NewStub(Connect(server, access))
        ->GetModel(&context, {}, &response)
        .error_code();
  }
  // The owner of what the caller makes: the principals of two calls are the same if the second one
  // sees the session of the first.
  static bool SameCaller(const FakeServer& server, const Access& a, const Access& b) {
    static int made = 0;
    const std::string id = absl::StrCat("session-", ++made);
    v1::CreateSessionRequest create;
    create.set_id(id);
    v1::GetSessionRequest get;
    get.set_id(id);
    v1::Session session;
    grpc::ClientContext creating;
    grpc::ClientContext getting;
    const grpc::Status status =
        v1::Sessions::NewStub(Connect(server, a))->Create(&creating, create, &session);
    EXPECT_TRUE(status.ok()) << status.error_message();
    return v1::Sessions::NewStub(Connect(server, b))->Get(&getting, get, &session).ok();
  }

  static inline std::unique_ptr<TestAuthority> authority_;
  static inline std::unique_ptr<TestAuthority> other_;
  static inline CertificateFiles server_files_;
  static inline CertificateFiles alice_;
};

TEST_F(Tls, EncryptsAndShowsTheServersCertificate) {
  FakeServer server(Serving(Options(/*client_ca=*/false)));
  EXPECT_EQ(Call(server, Trusting(*authority_)), grpc::StatusCode::OK);
  EXPECT_EQ(Call(server, Trusting(*other_)), grpc::StatusCode::UNAVAILABLE);
  EXPECT_EQ(Call(server, Access()), grpc::StatusCode::UNAVAILABLE);
}

TEST_F(Tls, TellsClientsByTheirCertificates) {
  FakeServer server(Serving(Options(/*client_ca=*/true)));
  const CertificateFiles again = authority_->Sign("/CN=alice");
  const CertificateFiles bob = authority_->Sign("/CN=bob", "DNS:alice");
  const CertificateFiles nameless = authority_->Sign("/O=test", "DNS:carol,DNS:alice");
  const CertificateFiles carol = authority_->Sign("/CN=carol");
  EXPECT_TRUE(SameCaller(server, With(alice_), With(again)));
  EXPECT_FALSE(SameCaller(server, With(alice_), With(bob)));
  EXPECT_FALSE(SameCaller(server, With(alice_), With(nameless)));
  EXPECT_TRUE(SameCaller(server, With(nameless), With(carol)));
}

TEST_F(Tls, RefusesClientsWithoutAGoodCertificate) {
  FakeServer server(Serving(Options(/*client_ca=*/true)));
  EXPECT_EQ(Call(server, With(alice_)), grpc::StatusCode::OK);
  EXPECT_EQ(Call(server, With({})), grpc::StatusCode::UNAVAILABLE);
  EXPECT_EQ(Call(server, With(other_->Sign("/CN=alice"))), grpc::StatusCode::UNAVAILABLE);
  EXPECT_EQ(Call(server, With(authority_->Sign("/CN=alice", "", -1))),
            grpc::StatusCode::UNAVAILABLE);
  EXPECT_EQ(Call(server, With(authority_->Sign("/O=nobody"))), grpc::StatusCode::UNAUTHENTICATED);
}

TEST_F(Tls, TakesATokenOrACertificate) {
  IdentityOptions options = Options(/*client_ca=*/true);
  options.auth_tokens = NewFolder() + "/tokens";
  const std::string bob = *AddToken(options.auth_tokens, "bob", std::nullopt);
  PrincipalLimits one;
  one.tokens_per_minute = 1;
  const std::string alice = *AddToken(options.auth_tokens, "alice", one);
  FakeServer server(Serving(options));
  EXPECT_EQ(Call(server, With({})), grpc::StatusCode::UNAUTHENTICATED);
  EXPECT_EQ(Call(server, With({}, bob)), grpc::StatusCode::OK);
  EXPECT_EQ(Call(server, With(alice_)), grpc::StatusCode::OK);
  // A token says more than a certificate, also when it is wrong.
  EXPECT_TRUE(SameCaller(server, With(alice_, bob), With({}, bob)));
  EXPECT_EQ(Call(server, With(alice_, bob + "0")), grpc::StatusCode::UNAUTHENTICATED);
  // One name is one principal, with its limits, however it is shown.
  EXPECT_TRUE(SameCaller(server, With(alice_), With({}, alice)));
  const auto stub = v1::Generation::NewStub(Connect(server, With(alice_)));
  v1::CompleteResponse response;
  grpc::ClientContext first;
  EXPECT_TRUE(stub->Complete(&first, GreedyRequest(3), &response).ok());
  grpc::ClientContext second;
  EXPECT_EQ(stub->Complete(&second, GreedyRequest(3), &response).error_code(),
            grpc::StatusCode::RESOURCE_EXHAUSTED);
}

TEST_F(Tls, ThePrivateListenerHasNone) {
  FakeServerOptions options = Serving(Options(/*client_ca=*/true));
  options.server.private_listen = "unix:" + NewFolder() + "/socket";
  FakeServer server(options);
  EXPECT_EQ(server.server().private_address(), options.server.private_listen);
  grpc::ClientContext context;
  v1::GetModelResponse response;
  EXPECT_TRUE(v1::Generation::NewStub(NewChannel(server.server().private_address(), {}, {}))
                  ->GetModel(&context, {}, &response)
                  .ok());
}

// Waits until new connections have this end: gRPC looks for new certificates each second.
bool SoonIs(grpc::StatusCode code, const std::function<grpc::StatusCode()>& call) {
  for (int i = 0; i < 100; ++i) {
    if (call() == code) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(200));
  }
  return false;
}

TEST_F(Tls, NoticesNewCertificatesAndKeepsTheOldOnesWhileTheFilesAreWrong) {
  const std::string folder = NewFolder();
  IdentityOptions options;
  options.tls = {folder + "/cert.pem", folder + "/key.pem", folder + "/ca.pem"};
  const CertificateFiles theirs = other_->SignServer();
  const auto put = [&](const std::string& certificate, const std::string& key,
                       const std::string& client_ca) {
    WriteText(options.tls.certificate, certificate);
    WriteText(options.tls.key, key);
    WriteText(options.tls.client_ca, client_ca);
  };
  put(ReadText(server_files_.certificate), ReadText(server_files_.key),
      ReadText(authority_->certificate()));
  FakeServer server(Serving(options));
  Access from_other = With(other_->Sign("/CN=bob"));
  from_other.ca = ReadText(other_->certificate());
  const auto known = Connect(server, With(alice_));
  EXPECT_EQ(Call(server, With(alice_)), grpc::StatusCode::OK);
  EXPECT_EQ(Call(server, from_other), grpc::StatusCode::UNAVAILABLE);

  // A certificate with the key of another, and what is no certificate at all.
  for (const auto& [certificate, key, client_ca, error] :
       {std::tuple(ReadText(theirs.certificate), ReadText(server_files_.key),
                   ReadText(other_->certificate()), "is not the key of the certificate in"),
        std::tuple(std::string("nothing"), ReadText(theirs.key), ReadText(other_->certificate()),
                   "has no certificate in PEM"),
        std::tuple(ReadText(theirs.certificate), std::string(), ReadText(other_->certificate()),
                   "has no private key in PEM"),
        std::tuple(ReadText(theirs.certificate), ReadText(theirs.key), std::string("nothing"),
                   "has no certificate in PEM")}) {
    put(certificate, key, client_ca);
    EXPECT_THAT(server.server().ReloadIdentity().message(), HasSubstr(error));
    EXPECT_EQ(Call(server, With(alice_)), grpc::StatusCode::OK) << error;
  }
  // Past gRPC's next look.
  std::this_thread::sleep_for(std::chrono::seconds(2));
  EXPECT_EQ(Call(server, With(alice_)), grpc::StatusCode::OK);

  put(ReadText(theirs.certificate), ReadText(theirs.key), ReadText(other_->certificate()));
  EXPECT_TRUE(SoonIs(grpc::StatusCode::OK, [&] { return Call(server, from_other); }));
  EXPECT_EQ(Call(server, With(alice_)), grpc::StatusCode::UNAVAILABLE);
}

TEST_F(Tls, DoesNotStartWithFilesThatAreWrong) {
  const std::string folder = NewFolder();
  WriteText(folder + "/nothing", "nothing");
  const auto error_of = [](const TlsOptions& tls) {
    IdentityOptions options;
    options.tls = tls;
    return std::string(Identity::Open(options).status().message());
  };
  const std::string& certificate = server_files_.certificate;
  const std::string& key = server_files_.key;
  EXPECT_EQ(error_of({certificate, key, authority_->certificate()}), "");
  EXPECT_THAT(error_of({folder + "/none", key, ""}), HasSubstr("/none cannot be read"));
  EXPECT_THAT(error_of({folder, key, ""}), HasSubstr("is not a regular file"));
  EXPECT_THAT(error_of({folder + "/nothing", key, ""}), HasSubstr("has no certificate in PEM"));
  EXPECT_THAT(error_of({certificate, certificate, ""}), HasSubstr("has no private key in PEM"));
  EXPECT_THAT(error_of({certificate, alice_.key, ""}), HasSubstr("is not the key of"));
  EXPECT_THAT(error_of({certificate, key, folder + "/nothing"}),
              HasSubstr("has no certificate in PEM"));
}

}  // namespace
}  // namespace retnet
