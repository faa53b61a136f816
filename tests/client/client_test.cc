// The client retnet as users run it, against the real server.
#include <signal.h>

#include <cmath>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/server/process.h"
#include "tests/server/retnetd.h"

namespace retnet {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;

class Client : public ::testing::Test {
 protected:
  static void SetUpTestSuite() { server_ = std::make_unique<Retnetd>(); }
  static void TearDownTestSuite() { server_.reset(); }

  static ClientResult Run(const std::vector<std::string>& arguments,
                          const std::string& input = "") {
    return server_->RunClient(arguments, input);
  }
  // What it prints with --json, which must be one object on one line.
  static json RunJson(std::vector<std::string> arguments, const std::string& input = "") {
    arguments.push_back("--json");
    const ClientResult result = Run(arguments, input);
    EXPECT_EQ(result.exit_code, 0) << result.error;
    EXPECT_EQ(result.output.find('\n'), result.output.size() - 1);
    return json::parse(result.output, nullptr, /*allow_exceptions=*/false);
  }

  static inline std::unique_ptr<Retnetd> server_;
};

TEST_F(Client, GeneratesTheTextThatTheServiceGives) {
  v1::GenerateRequest request = Prompt("Alice was", 20);
  const Generated expected = Generate(request, server_->NewStub().get());
  const std::vector<std::string> arguments = {"generate", "Alice was", "--max-tokens", "20",
                                              "--seed",   "7",         "--ignore-eos"};
  EXPECT_EQ(Run(arguments).output, expected.text + "\n");
  // As scripts call it, for prompts that look like options.
  EXPECT_EQ(
      Run({"generate", "--max-tokens", "20", "--seed", "7", "--ignore-eos", "--", "Alice was"})
          .output,
      expected.text + "\n");
  const json object = RunJson(arguments);
  EXPECT_EQ(object["token_ids"], json(expected.ids));
  EXPECT_EQ(object["text"], expected.text);
  EXPECT_EQ(object["finish_reason"], "length");
  EXPECT_EQ(object["usage"]["completion_tokens"], 20);
  EXPECT_EQ(object["seed"], 7);
  EXPECT_FALSE(object.contains("logprobs"));
}

TEST_F(Client, PassesSamplingOptionsOn) {
  v1::GenerateRequest request = Prompt("Alice", 30);
  request.set_temperature(0.9);
  request.set_top_k(50);
  request.set_top_p(0.95);
  request.set_min_p(0.01);
  request.set_repetition_penalty(1.2);
  request.set_frequency_penalty(0.3);
  request.set_presence_penalty(-0.2);
  (*request.mutable_logit_bias())[70] = 4.5;
  (*request.mutable_logit_bias())[80] = -3;
  const Generated expected = Generate(request, server_->NewStub().get());
  ASSERT_TRUE(expected.status.ok()) << expected.status.error_message();
  const json object = RunJson({"generate",     "Alice",
                               "--max-tokens", "30",
                               "--seed",       "7",
                               "--ignore-eos", "--temperature",
                               "0.9",          "--top-k",
                               "50",           "--top-p",
                               "0.95",         "--min-p",
                               "0.01",         "--repetition-penalty",
                               "1.2",          "--frequency-penalty",
                               "0.3",          "--presence-penalty",
                               "-0.2",         "--logit-bias",
                               "70=4.5",       "--logit-bias",
                               "80=-3"});
  EXPECT_EQ(object["token_ids"], json(expected.ids));
}

TEST_F(Client, ReportsLogprobsAndSeveralSamples) {
  v1::GenerateRequest request = Prompt("", 4);
  for (const int32_t id : {5, 6, 7}) request.mutable_token_ids()->add_ids(id);
  request.set_n(3);
  request.set_logprobs(2);
  const v1::CompleteResponse expected = Complete(request, server_->NewStub().get());
  const json object = RunJson({"generate", "--token-ids", "5,6,7", "--max-tokens", "4", "--seed",
                               "7", "--ignore-eos", "-n", "3", "--logprobs", "2"});
  ASSERT_EQ(object["choices"].size(), 3);
  ASSERT_EQ(expected.choices_size(), 3);
  for (int i = 0; i < 3; ++i) {
    const json& choice = object["choices"][i];
    ASSERT_EQ(choice["token_ids"].size(), 4);
    ASSERT_EQ(choice["logprobs"].size(), 4);
    ASSERT_EQ(choice["top_logprobs"].size(), 4);
    for (int j = 0; j < 4; ++j) {
      const v1::Token& token = expected.choices(i).tokens(j);
      EXPECT_EQ(choice["token_ids"][j], token.id());
      EXPECT_EQ(choice["logprobs"][j].get<float>(), token.logprob());
      const json& candidates = choice["top_logprobs"][j];
      ASSERT_EQ(candidates.size(), 2);
      for (int k = 0; k < 2; ++k) {
        EXPECT_EQ(candidates[k]["token_id"], token.top_logprobs(k).id());
        EXPECT_EQ(candidates[k]["logprob"].get<float>(), token.top_logprobs(k).logprob());
      }
    }
  }
  EXPECT_EQ(object["usage"]["prompt_tokens"], 3);
}

TEST_F(Client, TakesThePromptFromAFileAndStopsWhereItIsTold) {
  const json whole = RunJson(
      {"generate", "--file", "-", "--max-tokens", "30", "--temperature", "0", "--ignore-eos"},
      "Alice was");
  const std::string text = whole["text"];
  ASSERT_GT(text.size(), 12);
  // Whole characters of the middle of what the model says.
  size_t begin = text.size() / 2;
  while (begin < text.size() && (text[begin] & 0xC0) == 0x80) ++begin;
  size_t end = begin + 3;
  while (end < text.size() && (text[end] & 0xC0) == 0x80) ++end;
  const std::string stop = text.substr(begin, end - begin);
  const json stopped = RunJson({"generate", "--file", "-", "--max-tokens", "30", "--temperature",
                                "0", "--ignore-eos", "--stop", stop},
                               "Alice was");
  EXPECT_EQ(stopped["text"], text.substr(0, text.find(stop)));
  EXPECT_EQ(stopped["finish_reason"], "stop");
  EXPECT_EQ(stopped["stop_string"], stop);
}

TEST_F(Client, ScoresWithTotals) {
  const std::string text = "Alice was beginning to get very tired";
  const json object = RunJson({"score", text});
  const json& logprobs = object["logprobs"];
  ASSERT_EQ(logprobs.size(), object["token_ids"].size());
  ASSERT_GT(logprobs.size(), 5);
  EXPECT_TRUE(logprobs[0].is_null());
  double total = 0;
  for (size_t i = 1; i < logprobs.size(); ++i) total += logprobs[i].get<double>();
  EXPECT_NEAR(object["total"].get<double>(), total, 1e-4);
  EXPECT_NEAR(object["perplexity"].get<double>(), std::exp(-total / (logprobs.size() - 1)), 0.01);
  EXPECT_NEAR(object["bits_per_byte"].get<double>(), -total / std::log(2) / text.size(), 1e-4);
  EXPECT_THAT(Run({"score", text}).output, HasSubstr("perplexity"));
}

TEST_F(Client, TokenizesAndDetokenizes) {
  const std::string text = "Alice \xF0\x9F\x99\x82!";
  const json tokens = RunJson({"tokenize", text, "--no-add-bos"});
  ASSERT_GT(tokens["token_ids"].size(), 3);
  std::string ids = Run({"tokenize", text}).output;
  EXPECT_EQ(ids.substr(0, 2), "1,");  // BOS
  ids.pop_back();
  EXPECT_EQ(RunJson({"detokenize", ids})["text"], text);
  EXPECT_EQ(Run({"detokenize", "--token-ids", ids}).output, text + "\n");
}

TEST_F(Client, DescribesModelAndHealth) {
  const json model = RunJson({"model"});
  EXPECT_EQ(model["vocab_size"], 420);
  EXPECT_EQ(model["max_sequences"], 8);
  EXPECT_EQ(model["has_tokenizer"], true);
  EXPECT_THAT(Run({"model"}).output, HasSubstr("vocab_size: 420\n"));
  EXPECT_EQ(RunJson({"health"})["status"], "SERVING");
  EXPECT_EQ(Run({"health", "--service", "retnet.v1.Generation"}).output, "SERVING\n");
  EXPECT_EQ(Run({"health", "--service", "nobody"}).exit_code, 1);
}

TEST_F(Client, ExitsWith1AndTheServersMessageWhenRefused) {
  const ClientResult result = Run({"generate", "Alice", "--max-tokens", "0"});
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_EQ(result.output, "");
  EXPECT_THAT(result.error, HasSubstr("INVALID_ARGUMENT: max_tokens is 0"));
  EXPECT_THAT(Run({"generate", "a\xFF"}).error, HasSubstr("text is not UTF-8 at byte 1"));
  EXPECT_EQ(Run({"generate", "Alice", "--ignore-eos", "--timeout", "0.2"}).exit_code, 1);
}

TEST_F(Client, ExitsWith2ForUsage) {
  const std::vector<std::vector<std::string>> cases = {
      {"generate"},
      {"fly"},
      {"generate", "Alice", "--token-ids", "5"},
      {"generate", "Alice", "--max-tokens", "many"},
      {"generate", "Alice", "--logit-bias", "5"},
      {"generate", "--file", "/no/such/file"},
      {"detokenize", "five"},
      {"generate", "Alice", "--seed", "18446744073709551616"},
      {"generate", "Alice", "--seed", "-1"},
      {"generate", "Alice", "--seed", "0x"},
      {"generate", "Alice", "--top-k", "4294967297"},
      {"generate", "Alice", "--max-tokens", "-2147483649"},
      {"generate", "--token-ids", "5,4294967301"},
      {"generate", "Alice", "--stop-token-ids", "4294967301"},
      {"bench", "--seed", "18446744073709551616"},
      {"bench", "--seed", "-1"},
      {"sessions", "fork", "tale", "--count", "4294967297"},
  };
  for (const std::vector<std::string>& arguments : cases) {
    const ClientResult result = Run(arguments);
    EXPECT_EQ(result.exit_code, 2) << result.output;
    EXPECT_THAT(result.error, testing::Not(""));
  }
}

TEST_F(Client, TakesTheGreatestSeed) {
  EXPECT_EQ(
      RunJson({"generate", "Alice", "--max-tokens", "1", "--seed", "18446744073709551615"})["seed"],
      18446744073709551615u);
}

TEST_F(Client, SaysThatAFolderIsNoFile) {
  const std::string folder = testing::TempDir();
  const std::vector<std::vector<std::string>> cases = {
      {"generate", "--file", folder},
      {"score", "--file", folder},
      {"tokenize", "--file", folder},
      {"sessions", "import", "--file", folder},
      {"sessions", "export", "--file", folder, "folder"},
      {"bench", "--dataset-path", folder},
      {"bench", "--json", folder},
      {"bench", "--report", folder},
  };
  ASSERT_EQ(Run({"sessions", "create", "folder"}).exit_code, 0);
  for (const std::vector<std::string>& arguments : cases) {
    const ClientResult result = Run(arguments);
    EXPECT_THAT(result.exit_code, testing::AnyOf(1, 2)) << arguments[0] << " " << arguments[1];
    EXPECT_THAT(result.error, HasSubstr(folder));
    EXPECT_THAT(result.error, HasSubstr("cannot be "));
  }
  Process standard_input({"/bin/sh", "-c", "exec \"$0\" \"$@\" < /", RETNET_PATH, "--target",
                          server_->address(), "generate", "--file", "-"});
  EXPECT_EQ(standard_input.Wait(), 2);
  EXPECT_THAT(standard_input.error(), HasSubstr("- cannot be read"));
}

TEST_F(Client, TakesOneValueForAnOptionAndLeavesThePrompt) {
  const std::vector<std::vector<std::string>> cases = {
      {"--stop", "king"},
      {"--logit-bias", "5=-2"},
      {"--stop-token-ids", "5"},
      {"--stop-token-ids", "5,6"},
      {"--cache-boundaries", "3,4"},
      {"--stop", "king", "--stop", "queen"},
  };
  for (std::vector<std::string> arguments : cases) {
    arguments.insert(arguments.begin(), {"generate", "--max-tokens", "3"});
    arguments.push_back("Alice was");
    const ClientResult result = Run(arguments);
    EXPECT_EQ(result.exit_code, 0) << arguments[3] << ": " << result.error;
  }
  const ClientResult made = Run({"sessions", "create", "--label", "who=me", "labelled"});
  EXPECT_EQ(made.exit_code, 0) << made.error;
  EXPECT_THAT(made.output, HasSubstr("labelled"));
  EXPECT_THAT(Run({"generate", "--token-ids", "5", "Alice"}).error, HasSubstr("excludes"));
}

TEST_F(Client, ExitsWith5WhereItsOutputCannotBeWritten) {
  ASSERT_EQ(Run({"sessions", "create", "full"}).exit_code, 0);
  const std::vector<std::string> commands = {
      "generate Alice --max-tokens 3",
      "generate Alice --max-tokens 30000 --ignore-eos",
      "generate Alice --max-tokens 3 --json",
      "generate Alice --max-tokens 3 -n 2",
      "score Alice",
      "score Alice --json",
      "tokenize Alice",
      "detokenize 5,6,7",
      "model",
      "health",
      "sessions list",
      "sessions get full",
      "sessions export full --file -",
      "bench --num-prompts 1 --random-input-len 4 --random-output-len 2",
      "bench --num-prompts 1 --random-input-len 4 --random-output-len 2 --json",
      "bench --num-prompts 1 --random-input-len 4 --random-output-len 2 --json /dev/full",
      "bench --num-prompts 1 --random-input-len 4 --random-output-len 2 --report /dev/full",
      "--help",
  };
  for (const std::string& command : commands) {
    for (const std::string closed : {">/dev/full", ">&-"}) {
      Process process({"/bin/sh", "-c", "exec \"$0\" --target \"$1\" " + command + " " + closed,
                       RETNET_PATH, server_->address()});
      EXPECT_EQ(process.Wait(), 5) << command << " " << closed << ": " << process.error();
      EXPECT_THAT(process.error(), HasSubstr("cannot be written")) << command;
    }
  }
  Process chat({"/bin/sh", "-c", "exec \"$0\" --target \"$1\" chat --max-tokens 3 >/dev/full",
                RETNET_PATH, server_->address()},
               "Alice\nQueen\n");
  EXPECT_EQ(chat.Wait(), 5) << chat.error();
}

TEST_F(Client, WritesIntoADeviceAndDoesNotReplaceIt) {
  ASSERT_EQ(Run({"sessions", "create", "device"}).exit_code, 0);
  EXPECT_EQ(Run({"sessions", "export", "device", "--file", "/dev/null"}).exit_code, 0);
  EXPECT_EQ(Run({"sessions", "export", "device", "--file", "/dev/full"}).exit_code, 1);
  for (const std::string device : {"/dev/null", "/dev/full"}) {
    EXPECT_TRUE(std::filesystem::is_character_file(device)) << device;
    EXPECT_FALSE(std::filesystem::exists(device + ".part"));
  }
}

TEST_F(Client, TakesNoProxyToThisMachine) {
  const std::string port = server_->address().substr(server_->address().rfind(':'));
  for (const std::string variable : {"http_proxy", "https_proxy", "grpc_proxy"}) {
    for (const std::string& target : {"127.0.0.1" + port, "localhost" + port,
                                      "dns:///localhost" + port, "ipv4:127.0.0.1" + port}) {
      Process process({"/usr/bin/env", "-u", "no_proxy", "-u", "no_grpc_proxy",
                       variable + "=http://127.0.0.1:9", RETNET_PATH, "--target", target,
                       "health"});
      EXPECT_EQ(process.Wait(), 0) << variable << " " << target << ": " << process.error();
    }
  }
}

TEST_F(Client, SaysWhatItHasSeenOfASession) {
  ASSERT_EQ(Run({"sessions", "create", "seen"}).exit_code, 0);
  const json first = RunJson({"generate", "Alice was", "--session", "seen", "--max-tokens", "3"});
  const int tokens = first["session_tokens"];
  const ClientResult older = Run({"generate", "--session", "seen", "--max-tokens", "1",
                                  "--session-tokens", std::to_string(tokens + 1)});
  EXPECT_EQ(older.exit_code, 1);
  EXPECT_THAT(older.error, HasSubstr("ABORTED: session seen has "));
  EXPECT_EQ(
      Run({"score", "Alice", "--session", "seen", "--session-tokens", std::to_string(tokens + 1)})
          .exit_code,
      1);
  EXPECT_EQ(Run({"generate", "--session", "seen", "--max-tokens", "1", "--session-tokens",
                 std::to_string(tokens)})
                .exit_code,
            0);
}

TEST_F(Client, ExitsWith4WhereNobodyListens) {
  Process process({RETNET_PATH, "generate", "Alice", "--target", "127.0.0.1:1"});
  EXPECT_EQ(process.Wait(), 4);
  EXPECT_THAT(process.error(), HasSubstr("127.0.0.1:1"));
}

TEST_F(Client, IsCancelledByCtrlC) {
  Process process(server_->Client({"generate", "Alice", "--max-tokens", "30000", "--ignore-eos"}));
  EXPECT_NE(process.ReadSome(), "");
  process.Signal(SIGINT);
  EXPECT_EQ(process.Wait(), -SIGINT);
}

}  // namespace
}  // namespace retnet
