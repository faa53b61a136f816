// Tokens, certificates and the private listener, as operators and users have them: the two programs
// as processes.
#include <signal.h>

#include <chrono>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/server/identity/certificates.h"
#include "tests/server/process.h"
#include "tests/server/retnetd.h"

namespace retnet {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

// retnet alone, without a server.
ClientResult RunRetnet(std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), RETNET_PATH);
  Process process(arguments);
  const int exit_code = process.Wait();
  return {exit_code, process.output(), process.error()};
}

// A file of tokens with one of alice's, which is in token_file.
struct Tokens {
  Tokens() {
    const ClientResult made = RunRetnet({"token", "new", "alice", "--file", file, "--weight", "2"});
    EXPECT_EQ(made.exit_code, 0) << made.error;
    token = std::string(absl::StripSuffix(made.output, "\n"));
    WriteText(token_file, made.output);
  }
  const std::string folder = NewFolder();
  const std::string file = folder + "/tokens";
  const std::string token_file = folder + "/alice.token";
  std::string token;
};

TEST(Security, ATokenLetsItsHolderIn) {
  const Tokens tokens;
  const Retnetd server({"--auth-tokens", tokens.file});
  EXPECT_EQ(
      server
          .RunClient({"--token-file", tokens.token_file, "generate", "Alice", "--max-tokens", "3"})
          .exit_code,
      0);
  const ClientResult refused = server.RunClient({"generate", "Alice"});
  EXPECT_EQ(refused.exit_code, 1);
  EXPECT_THAT(refused.error, HasSubstr("UNAUTHENTICATED: "));
  EXPECT_EQ(server.Health(), "SERVING");
  Process from_environment({"/usr/bin/env", "RETNET_TOKEN=" + tokens.token, RETNET_PATH, "--target",
                            server.address(), "sessions", "list"});
  EXPECT_EQ(from_environment.Wait(), 0);
  // The load generator makes its own connections.
  EXPECT_EQ(server
                .RunClient({"--token-file", tokens.token_file, "bench", "--num-prompts", "4",
                            "--random-input-len", "4", "--random-output-len", "4",
                            "--vanish-fraction", "0.5"})
                .exit_code,
            0);
}

TEST(Security, TokensAreListedWithoutTheirSecrets) {
  const Tokens tokens;
  EXPECT_EQ(RunRetnet({"token", "new", "bob", "--file", tokens.file}).exit_code, 0);
  const ClientResult list = RunRetnet({"token", "list", "--file", tokens.file});
  EXPECT_EQ(list.exit_code, 0);
  const size_t dot = tokens.token.find('.');
  EXPECT_THAT(list.output, StartsWith(absl::StrCat("alice  ", tokens.token.substr(0, dot),
                                                   "  weight=2\nbob  ")));
  EXPECT_THAT(list.output, Not(HasSubstr(tokens.token.substr(dot + 1))));
  EXPECT_EQ(RunRetnet({"token", "new", "two words", "--file", tokens.file}).exit_code, 1);
  EXPECT_EQ(RunRetnet({"token", "new", "bob", "--file", tokens.file, "--weight", "0"}).exit_code,
            2);
  EXPECT_EQ(RunRetnet({"token", "list", "--file", tokens.folder}).exit_code, 1);
}

TEST(Security, AHangupReadsTheTokensAgain) {
  const Tokens tokens;
  Retnetd server({"--auth-tokens", tokens.file});
  const std::string good = ReadText(tokens.file);
  WriteText(tokens.file, "nonsense\n");
  server.process().Signal(SIGHUP);
  const auto soon = [&server](const std::string& words) {
    for (int i = 0; i < 300; ++i) {
      if (server.process().error().find(words) != std::string::npos) return true;
      std::this_thread::sleep_for(std::chrono::milliseconds(100));
    }
    return false;
  };
  EXPECT_TRUE(soon("SIGHUP: cannot reload tokens and certificates: ")) << server.process().error();
  EXPECT_EQ(server.RunClient({"--token-file", tokens.token_file, "model"}).exit_code, 0);
  WriteText(tokens.file, good);
  server.process().Signal(SIGHUP);
  EXPECT_TRUE(soon("SIGHUP: reloaded tokens and certificates")) << server.process().error();
  EXPECT_EQ(server.RunClient({"--token-file", tokens.token_file, "model"}).exit_code, 0);
}

TEST(Security, TlsEncryptsAndCertificatesTellClients) {
  const TestAuthority authority;
  const CertificateFiles files = authority.SignServer();
  const CertificateFiles alice = authority.Sign("/CN=alice");
  const Retnetd server({"--tls-cert", files.certificate, "--tls-key", files.key, "--tls-client-ca",
                        authority.certificate()});
  const std::vector<std::string> as_alice = {
      "--tls-ca", authority.certificate(), "--tls-cert", alice.certificate, "--tls-key", alice.key};
  const auto with = [](std::vector<std::string> options, std::vector<std::string> command) {
    options.insert(options.end(), command.begin(), command.end());
    return options;
  };
  EXPECT_EQ(server.RunClient(with(as_alice, {"sessions", "create", "hers"})).exit_code, 0);
  EXPECT_THAT(server.RunClient(with(as_alice, {"sessions", "list"})).output, HasSubstr("hers"));
  EXPECT_EQ(server
                .RunClient(with(as_alice, {"bench", "--num-prompts", "2", "--random-input-len", "4",
                                           "--random-output-len", "4"}))
                .exit_code,
            0);
  EXPECT_EQ(
      server.RunClient(with(as_alice, {"bench", "--num-prompts", "2", "--vanish-fraction", "0.5"}))
          .exit_code,
      2);
  const ClientResult anonymous = server.RunClient({"--tls-ca", authority.certificate(), "model"});
  EXPECT_NE(anonymous.exit_code, 0);
  const ClientResult plain = server.RunClient({"model"});
  EXPECT_EQ(plain.exit_code, 4);
  EXPECT_THAT(plain.error, HasSubstr("If it uses TLS, name its CA with --tls-ca FILE."));
}

TEST(Security, ThePrivateListenerIsNamedOnTheSecondLine) {
  const Tokens tokens;
  Retnetd server({"--auth-tokens", tokens.file, "--private-listen", "127.0.0.1:0"});
  const std::string announcement = "listening privately on ";
  const std::string line = server.process().ReadLine();
  ASSERT_THAT(line, StartsWith(announcement));
  const std::string target = line.substr(announcement.size());
  EXPECT_NE(target, server.address());
  EXPECT_EQ(RunRetnet({"--target", target, "model"}).exit_code, 0);
  EXPECT_EQ(RunRetnet({"--target", server.address(), "model"}).exit_code, 1);
}

// The error of a server that does not start.
std::string StartError(std::vector<std::string> flags, int exit_code) {
  const std::vector<std::string> first = {RETNETD_PATH, "--model", ModelFolder(), "--listen",
                                          "127.0.0.1:0"};
  flags.insert(flags.begin(), first.begin(), first.end());
  Process server(flags);
  EXPECT_EQ(server.Wait(), exit_code);
  return server.error();
}

TEST(Security, DoesNotStartWithFilesThatAreWrong) {
  const std::string folder = NewFolder();
  WriteText(folder + "/wrong", "token\n");
  EXPECT_THAT(StartError({"--auth-tokens", folder + "/wrong"}, 1), HasSubstr("/wrong, line 1: "));
  EXPECT_THAT(StartError({"--auth-tokens", folder + "/none"}, 1),
              HasSubstr("/none cannot be read"));
  EXPECT_THAT(StartError({"--tls-cert", folder + "/wrong", "--tls-key", folder + "/wrong"}, 1),
              HasSubstr("/wrong has no certificate in PEM"));
  EXPECT_THAT(StartError({"--tls-cert", folder + "/wrong"}, 2), HasSubstr("--tls-key"));
  EXPECT_THAT(StartError({"--tls-client-ca", folder + "/wrong"}, 2), HasSubstr("--tls-cert"));
  EXPECT_THAT(StartError({"--private-listen", "nowhere"}, 2), HasSubstr("nowhere"));
  const Retnetd other;
  EXPECT_THAT(StartError({"--private-listen", other.address()}, 1),
              HasSubstr("the port is in use; choose another with --private-listen HOST:PORT"));
}

// What it says at its start about being open, on standard error.
std::string Warnings(const std::string& listen, std::vector<std::string> flags) {
  const std::vector<std::string> first = {
      RETNETD_PATH, "--model", ModelFolder(), "--max-sequences", "4", "--listen", listen};
  flags.insert(flags.begin(), first.begin(), first.end());
  Process server(flags);
  EXPECT_THAT(server.ReadLine(), StartsWith("listening on ")) << server.error();
  return server.error();
}

TEST(Security, WarnsOfAListenerThatIsOpenBeyondTheMachine) {
  const Tokens tokens;
  const std::string open = "is open beyond this machine";
  EXPECT_THAT(Warnings("127.0.0.1:0", {}), Not(HasSubstr(open)));
  EXPECT_THAT(Warnings("localhost:0", {}), Not(HasSubstr(open)));
  EXPECT_THAT(Warnings("0.0.0.0:0", {}), HasSubstr("may use the server"));
  EXPECT_THAT(Warnings("0.0.0.0:0", {"--auth-tokens", tokens.file}), HasSubstr("in the clear"));
  const TestAuthority authority;
  const CertificateFiles files = authority.SignServer();
  EXPECT_THAT(Warnings("0.0.0.0:0", {"--auth-tokens", tokens.file, "--tls-cert", files.certificate,
                                     "--tls-key", files.key}),
              Not(HasSubstr(open)));
  EXPECT_THAT(Warnings("0.0.0.0:0", {"--tls-cert", files.certificate, "--tls-key", files.key,
                                     "--private-listen", "0.0.0.0:0"}),
              ::testing::AllOf(HasSubstr("may use the server"), HasSubstr("asks nobody")));
}

}  // namespace
}  // namespace retnet
