// retnetd as a process, with options from the command line, the environment and a file.
#include "server/configuration.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <cstdlib>
#include <map>
#include <string>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "tests/server/configuration_runs.h"
#include "tests/server/identity/certificates.h"
#include "tests/server/process.h"
#include "tests/server/retnetd.h"

namespace retnet {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

TEST(Configuration, TakesTheCommandLineThenTheEnvironmentThenTheFile) {
  for (int sources = 0; sources < 8; ++sources) {
    SCOPED_TRACE(sources);
    const bool line = sources & 1, environment = sources & 2, file = sources & 4;
    // Numbers, words and flags each go their own way through CLI11.
    const std::string path = FileOf(
        ModelLine() + (file ? "max-queue = 30\nlog-level = \"error\"\ncuda-graphs = false\n" : ""));
    std::vector<std::string> variables;
    if (environment) {
      variables = {"RETNET_MAX_QUEUE=20", "RETNET_LOG_LEVEL=warning", "RETNET_CUDA_GRAPHS=true"};
    }
    std::vector<std::string> flags = {"--config", path};
    if (line) {
      flags.insert(flags.end(), {"--max-queue", "10", "--log-level=debug", "--no-cuda-graphs"});
    }
    const RunResult result = CheckConfig(variables, flags);
    ASSERT_EQ(result.exit_code, 0) << result.error;
    const std::map<std::string, Line> lines = LinesOf(result.output);
    const auto expect = [&](const std::string& key, const std::vector<std::string>& values) {
      const int origin = line ? 0 : environment ? 1 : file ? 2 : 3;
      const std::vector<std::string> origins = {
          "command line",
          "environment RETNET_" + absl::AsciiStrToUpper(absl::StrReplaceAll(key, {{"-", "_"}})),
          "file " + path, "default"};
      EXPECT_EQ(lines.at(key).value, values[origin]) << key;
      EXPECT_EQ(lines.at(key).origin, origins[origin]) << key;
    };
    expect("max-queue", {"10", "20", "30", "256"});
    expect("log-level", {"\"debug\"", "\"warning\"", "\"error\"", "\"info\""});
    expect("cuda-graphs", {"false", "true", "false", "true"});
    EXPECT_EQ(lines.at("model").origin, "file " + path);
  }
}

TEST(Configuration, IsWhatTheServerRunsWith) {
  const std::string path =
      FileOf("max-num-seqs = 7\nmax-context-length = 77\nmax-step-rows = 32\n");
  ASSERT_EQ(setenv("RETNET_CONFIG", path.c_str(), 1), 0);
  ASSERT_EQ(setenv("RETNET_MAX_CONTEXT_LENGTH", "66", 1), 0);
  {
    Retnetd server({"--max-step-rows", "16"}, /*sequences=*/std::nullopt);
    grpc::ClientContext context;
    v1::GetModelResponse model;
    ASSERT_TRUE(server.NewStub()->GetModel(&context, {}, &model).ok());
    EXPECT_EQ(model.max_sequences(), 7);
    EXPECT_EQ(model.max_context_length(), 66);
    server.process().Signal(SIGTERM);
    EXPECT_EQ(server.process().Wait(), 0);
    EXPECT_THAT(server.process().error(), HasSubstr("configuration file " + path));
  }
  unsetenv("RETNET_CONFIG");
  unsetenv("RETNET_MAX_CONTEXT_LENGTH");
}

TEST(Configuration, AnEmptyValueIsNoValue) {
  const std::string path = FileOf(ModelLine() + "max-queue = \"\"\nprivate-listen = \"\"\n");
  const RunResult result = CheckConfig(
      {"RETNET_MAX_STEP_ROWS=", "RETNET_LISTEN=", "RETNET_CUDA_GRAPHS="}, {"--config", path});
  EXPECT_EQ(result.exit_code, 0) << result.error;
  const std::map<std::string, Line> lines = LinesOf(result.output);
  for (const char* key : {"max-queue", "private-listen", "max-step-rows", "listen"}) {
    EXPECT_EQ(lines.at(key).origin, "default") << key;
  }
  EXPECT_EQ(CheckConfig({"RETNET_CONFIG="}, {"--model", ModelFolder()}).exit_code, 0);
}

TEST(Configuration, NamesTheOriginOfWhatIsWrong) {
  struct Case {
    std::string file;
    std::vector<std::string> variables;
    std::string message;  // FILE stands for the file
  };
  const std::vector<Case> cases = {
      {"max-queu = 3", {}, "file FILE: unknown key max-queu; did you mean max-queue?"},
      {"max_queue = 3", {}, "file FILE: unknown key max_queue; did you mean max-queue?"},
      {"--max-queue = 3", {}, "file FILE: unknown key --max-queue; did you mean max-queue?"},
      {"max-context = 3", {}, "unknown key max-context; did you mean max-context-length?"},
      {"max-sessions = 3", {}, "unknown key max-sessions; it is now called max-sequences"},
      {"t = 3", {}, "file FILE: unknown key t"},
      {"serving.max-queue = 3", {}, "file FILE: unknown key serving.max-queue"},
      {"[serving]\nmax-queue = 3", {}, "file FILE: line 1: there are no sections"},
      {"config = \"other\"", {}, "file FILE: config belongs on the command line"},
      {"check-config = true", {}, "file FILE: check-config belongs on the command line"},
      {"max-queue = 0", {}, "file FILE: --max-queue: 0 must be at least 1, at most 1048576"},
      {"max-queue = many", {}, "file FILE: --max-queue: many must be"},
      {"device = abacus", {}, "file FILE: --device: abacus must be auto, cpu or cuda"},
      {"listen = \"nowhere\"", {}, "file FILE: --listen: "},
      {"cuda-graphs = perhaps", {}, "file FILE: cuda-graphs: perhaps must be true or false"},
      {"cuda-graphs = 7", {}, "file FILE: cuda-graphs: 7 must be true or false"},
      {"max-queue = [3, 4]", {}, "file FILE: max-queue has 2 values and takes one"},
      {"max-queue = 3\nthreads = 1\nmax-queue = 4",
       {},
       "file FILE: max-queue is set a second time"},
      {"max-num-seqs = 3\nparallel = 4", {}, "file FILE: parallel is set a second time"},
      {"", {"RETNET_MAX_QUEUE=0"}, "environment RETNET_MAX_QUEUE: --max-queue: 0 must be"},
      {"", {"RETNET_DETERMINISTIC=2"}, "environment RETNET_DETERMINISTIC: deterministic: 2 must"},
      {"", {"RETNET_TLS_KEY=key"}, "--tls-key requires --tls-cert"},
      {"max-queue = 5", {"RETNET_MAX_QUEUE=-5"}, "environment RETNET_MAX_QUEUE: --max-queue: -5"},
  };
  for (const Case& item : cases) {
    const std::string path = FileOf(item.file);
    const RunResult result =
        CheckConfig(item.variables, {"--model", ModelFolder(), "--config", path});
    EXPECT_EQ(result.exit_code, 2) << item.message;
    EXPECT_EQ(result.output, "");
    EXPECT_THAT(result.error, HasSubstr(absl::StrReplaceAll(item.message, {{"FILE", path}})));
    // The same without --check-config.
    EXPECT_EQ(RunRetnetd(item.variables, {"--model", ModelFolder(), "--config", path}).exit_code,
              2);
  }
  const std::vector<std::string> nowhere = {"--model", ModelFolder(), "--config", "/nowhere.toml"};
  EXPECT_THAT(CheckConfig({}, nowhere).error, HasSubstr("--config: /nowhere.toml: No such file"));
  EXPECT_EQ(CheckConfig({}, nowhere).exit_code, 2);
  EXPECT_EQ(CheckConfig({"RETNET_CONFIG=/"}, {"--model", ModelFolder()}).exit_code, 2);
}

TEST(Configuration, WarnsOfVariablesThatNobodyReads) {
  const RunResult result = CheckConfig(
      {"RETNET_MAX_QUEU=1", "RETNET_MAX_SESSIONS=1", "RETNET_MAX_NUM_SEQS=1", "RETNET_ZZZZZZZZ=1",
       // The client's, those of compose, and those that Kubernetes makes for a service.
       "RETNET_TOKEN=secret", "RETNET_TOKEN_FILE=f", "RETNET_TLS_CA=f", "RETNET_IMAGE=retnet",
       "RETNET_PORT=tcp://10.0.0.1:50051", "RETNET_SERVICE_HOST=10.0.0.1",
       "RETNET_SERVICE_PORT_GRPC=50051", "RETNET_PORT_50051_TCP_ADDR=10.0.0.1",
       "RETNET_METRICS_PORT_9090_TCP=tcp://10.0.0.1:9090"},
      {"--model", ModelFolder()});
  EXPECT_EQ(result.exit_code, 0);
  EXPECT_THAT(
      result.error,
      AllOf(HasSubstr("variable RETNET_MAX_QUEU; did you mean RETNET_MAX_QUEUE?\n"),
            HasSubstr("variable RETNET_MAX_SESSIONS; it is now called RETNET_MAX_SEQUENCES\n"),
            HasSubstr("variable RETNET_MAX_NUM_SEQS"), HasSubstr("variable RETNET_ZZZZZZZZ\n"),
            Not(HasSubstr("TOKEN")), Not(HasSubstr("TLS")), Not(HasSubstr("PORT")),
            Not(HasSubstr("HOST")), Not(HasSubstr("IMAGE"))));
}

TEST(Configuration, EveryFlagHasAVariableAndAKey) {
  std::map<std::string, std::string> flags = HelpOfFlags();
  EXPECT_THAT(flags.at("config"), HasSubstr("environment: RETNET_CONFIG"));
  for (const char* name : {"help", "version", "config", "check-config"}) {
    EXPECT_EQ(flags.erase(name), 1) << name;
  }
  EXPECT_GT(flags.size(), 30);
  // Values for the flags that have none by default. A new such flag needs one here.
  const TestAuthority authority;
  const CertificateFiles certificate = authority.SignServer();
  const std::string folder = NewFolder();
  WriteText(folder + "/key", std::string(32, 'k'));
  ASSERT_EQ(Process({RETNET_PATH, "token", "new", "alice", "--file", folder + "/tokens"}).Wait(),
            0);
  const std::map<std::string, std::string> values = {{"model", ModelFolder()},
                                                     {"served-model-name", "a name, with #"},
                                                     {"metrics-listen", "127.0.0.1:0"},
                                                     {"private-listen", "unix:/nowhere/socket"},
                                                     {"auth-tokens", folder + "/tokens"},
                                                     {"tls-cert", certificate.certificate},
                                                     {"tls-key", certificate.key},
                                                     {"tls-client-ca", authority.certificate()},
                                                     {"instruction-set", "scalar"},
                                                     {"snapshot-key-file", folder + "/key"}};
  std::map<std::string, Line> lines = LinesOf(CheckConfig({}, {"--model", ModelFolder()}).output);
  std::string file;
  std::vector<std::string> variables;
  for (const auto& [flag, text] : flags) {
    ASSERT_EQ(lines.count(flag), 1) << flag;
    std::string value = lines[flag].value;
    if (const auto own = values.find(flag); own != values.end()) value = own->second;
    value = absl::StrReplaceAll(value, {{"\"", ""}});
    ASSERT_NE(value, "") << flag;
    const std::string variable =
        "RETNET_" + absl::AsciiStrToUpper(absl::StrReplaceAll(flag, {{"-", "_"}}));
    EXPECT_THAT(text, testing::ContainsRegex("environment: " + variable + "[];]")) << flag;
    absl::StrAppend(&file, flag, " = \"", value, "\"\n");
    variables.push_back(variable + "=" + value);
  }
  EXPECT_EQ(lines.size(), flags.size());
  const std::string path = FileOf(file);
  const RunResult from_file = CheckConfig({}, {"--config", path});
  EXPECT_EQ(from_file.exit_code, 0) << from_file.error;
  const RunResult from_environment = CheckConfig(variables, {});
  EXPECT_EQ(from_environment.exit_code, 0) << from_environment.error;
  std::map<std::string, Line> in_file = LinesOf(from_file.output);
  std::map<std::string, Line> in_environment = LinesOf(from_environment.output);
  for (const auto& [flag, text] : flags) {
    EXPECT_EQ(in_file[flag].origin, "file " + path) << flag;
    EXPECT_THAT(in_environment[flag].origin, HasSubstr("environment RETNET_")) << flag;
    EXPECT_EQ(in_file[flag].value, in_environment[flag].value) << flag;
  }
}

// A list, which retnetd has no flag for.
TEST(Configuration, ReadsListsFromEverySource) {
  const auto parsed = [](const std::string& file, const char* variable,
                         std::vector<std::string> arguments) {
    CLI::App app;
    std::string config;
    std::vector<std::string> peers;
    app.add_option("--config", config)->configurable(false);
    CLI::Option* option = app.add_option("--peer", peers);
    if (!file.empty()) arguments.push_back("--config=" + FileOf(file));
    if (variable != nullptr) setenv("RETNET_PEER", variable, 1);
    const Configuration configuration = ParseConfiguration(arguments, {}, &app);
    unsetenv("RETNET_PEER");
    // What is written is read as the same.
    if (option->count() > 0) {
      const std::string path = FileOf(WrittenConfiguration(app, configuration));
      const std::vector<std::string> before = peers;
      ParseConfiguration({"--config", path}, {}, &app);
      EXPECT_EQ(peers, before);
    }
    return peers;
  };
  EXPECT_THAT(parsed("peer = [\"a:1\",\n  \"b:2\"]", nullptr, {}), ElementsAre("a:1", "b:2"));
  EXPECT_THAT(parsed("peer = \"a:1\"\npeer = \"b:2\"", nullptr, {}), ElementsAre("a:1", "b:2"));
  EXPECT_THAT(parsed("peer = \"a:1\"", "c:3,d:4", {}), ElementsAre("c:3", "d:4"));
  EXPECT_THAT(parsed("peer = \"a:1\"", "c:3", {"--peer", "e:5", "--peer", "f:6"}),
              ElementsAre("e:5", "f:6"));
  EXPECT_THAT(parsed("peer = [\"a:1\"]", nullptr, {}), ElementsAre("a:1"));
}

}  // namespace
}  // namespace retnet
