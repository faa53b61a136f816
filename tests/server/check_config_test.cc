// retnetd --check-config: what it prints, and what it finds.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <regex>
#include <sstream>
#include <string>
#include <vector>

#include "server/configuration.h"
#include "tests/server/configuration_runs.h"
#include "tests/server/identity/certificates.h"
#include "tests/server/retnetd.h"

namespace retnet {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

TEST(CheckConfig, WhatACheckPrintsIsAFileThatSaysTheSame) {
  const std::string path =
      FileOf(ModelLine() + "max-queue = 30\nserved-model-name = 'a \"b\" # c'");
  const RunResult first =
      CheckConfig({"RETNET_NO_PREFIX_CACHE=yes", "RETNET_DRAIN_SECONDS=0.5"},
                  {"--config", path, "--listen", "[::1]:0", "--enforce-eager", "-t", "2"});
  ASSERT_EQ(first.exit_code, 0) << first.error;
  EXPECT_THAT(first.output, HasSubstr("served-model-name = 'a \"b\" # c'  # file "));
  const auto again = [&](const std::string& text) {
    WriteText(path, text);
    const RunResult result = CheckConfig({}, {"--config", path});
    EXPECT_EQ(result.exit_code, 0) << result.error;
    return result.output;
  };
  const std::string second = again(first.output);
  std::map<std::string, Line> before = LinesOf(first.output);
  std::map<std::string, Line> after = LinesOf(second);
  ASSERT_EQ(before.size(), after.size());
  for (const auto& [key, line] : before) {
    EXPECT_EQ(after[key].value, line.value) << key;
    EXPECT_EQ(after[key].origin == "default", line.origin == "default") << key;
  }
  EXPECT_EQ(again(second), second);
}

TEST(CheckConfig, ShowsNoPassword) {
  const std::string store = "redis://user:secret%40@127.0.0.1:1/2";
  const RunResult result =
      CheckConfig({"RETNET_SNAPSHOT_STORE=" + store}, {"--model", ModelFolder()});
  EXPECT_EQ(result.exit_code, 0) << result.error;
  EXPECT_THAT(result.output,
              HasSubstr("snapshot-store = \"redis://user:***@127.0.0.1:1/2\"  # environment "
                        "RETNET_SNAPSHOT_STORE; the password is not shown\n"));
  EXPECT_THAT(result.output + result.error, Not(HasSubstr("secret")));
  for (const std::string wrong :
       {"redis://user:secret%4@host", "redis://secret@host", "redis://:secret@host:port",
        "rediss://:secret@host", "redis://:sec/ret:secret@@host/x"}) {
    const RunResult refused =
        CheckConfig({}, {"--model", ModelFolder(), "--snapshot-store", wrong});
    EXPECT_EQ(refused.exit_code, 1) << wrong;
    EXPECT_THAT(refused.error, AllOf(HasSubstr("--snapshot-store"), Not(HasSubstr("secret"))));
    EXPECT_EQ(refused.output, "");
  }
  EXPECT_EQ(WithoutPassword("unix:/a@b"), "unix:/a@b");
  EXPECT_EQ(WithoutPassword("http://host/a"), "http://host/a");
}

TEST(CheckConfig, ACheckFindsWhatAStartWouldRefuse) {
  const std::string folder = NewFolder();
  WriteText(folder + "/file", "neither a key nor a token nor a certificate");
  WriteText(folder + "/short", "short");
  const std::string file = folder + "/file";
  struct Case {
    std::vector<std::string> flags;
    int exit_code;
    std::string message;
  };
  const std::vector<Case> cases = {
      {{"--model", folder}, 1, folder + ": neither model.safetensors"},
      {{"--auth-tokens", file}, 1, file},
      {{"--auth-tokens", folder + "/nowhere"}, 1, "nowhere"},
      {{"--tls-cert", file, "--tls-key", file}, 1, file},
      {{"--tls-cert", file}, 2, "--tls-cert requires --tls-key"},
      {{"--snapshot-key-file", folder + "/short"}, 1, "--snapshot-key-file"},
      {{"--snapshot-store", "floppy:a"}, 1, "it must be none, disk:DIR or"},
      {{"--listen", "127.0.0.1:5", "--metrics-listen", "127.0.0.1:5"}, 1, "--metrics-listen is"},
      {{"--private-listen", "unix:/x", "--listen", "unix:/x"}, 1, "--private-listen is unix:/x"},
      {{"--device", "cpu", "--state-type", "bf16"}, 1, "--state-type is bf16"},
      {{"--instruction-set", "abacus"}, 1, "abacus"},
      {{"--threads", "1025"}, 2, "--threads: 1025 must be"},
  };
  for (const Case& item : cases) {
    std::vector<std::string> flags = item.flags;
    if (flags[0] != "--model") flags.insert(flags.end(), {"--model", ModelFolder()});
    const RunResult started = RunRetnetd({}, flags);
    const RunResult checked = CheckConfig({}, flags);
    EXPECT_EQ(checked.exit_code, item.exit_code) << item.message;
    EXPECT_EQ(checked.output, "");
    EXPECT_THAT(checked.error, HasSubstr(item.message));
    EXPECT_EQ(started.exit_code, item.exit_code) << item.message;
    EXPECT_EQ(started.error, checked.error);
  }
}

TEST(CheckConfig, TheExampleOfTheDocumentsIsRight) {
  const RunResult result = CheckConfig({}, {"--config", "docs/retnetd.example.toml"});
  EXPECT_EQ(result.exit_code, 0) << result.error;
  // Its comments are settings, too: each must be one that works, or at least a known key.
  const std::string text = ReadText(RETNET_SOURCE_DIR "/docs/retnetd.example.toml");
  std::map<std::string, std::string> flags = HelpOfFlags();
  std::istringstream lines(text);
  int keys = 0;
  for (std::string line; std::getline(lines, line);) {
    std::smatch key;
    if (!std::regex_search(line, key, std::regex("^#?([a-z0-9-]+) = "))) continue;
    ++keys;
    EXPECT_EQ(flags.count(key[1]), 1) << line;
  }
  EXPECT_GT(keys, 10);
  // With the comments taken away its syntax and bounds are right; the files that it names are not
  // there.
  const RunResult all = CheckConfig(
      {}, {"--config", FileOf(std::regex_replace(text, std::regex("\n#([a-z])"), "\n$1"))});
  EXPECT_EQ(all.exit_code, 1) << all.error;
  EXPECT_THAT(all.error, HasSubstr("/etc/retnetd/"));
}

}  // namespace
}  // namespace retnet
