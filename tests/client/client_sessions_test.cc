// The client's sessions and chat, against the real server with a real model.
#include <signal.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <vector>

#include "absl/strings/str_join.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/server/process.h"
#include "tests/server/retnetd.h"

namespace retnet {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

// Without the marks of a character that the text breaks off in: a session keeps its bytes back
// until it is whole, while a text without a session says that it is broken.
std::string Whole(std::string text) {
  const std::string mark = "\xEF\xBF\xBD";
  while (text.ends_with(mark)) text.resize(text.size() - mark.size());
  return text;
}

std::string WholeLines(const std::string& text) {
  std::istringstream lines(text);
  std::string whole;
  for (std::string line; std::getline(lines, line);) whole += Whole(line) + "\n";
  return whole;
}

class ClientSessions : public ::testing::Test {
 protected:
  static void SetUpTestSuite() { server_ = std::make_unique<Retnetd>(); }
  static void TearDownTestSuite() { server_.reset(); }
  ~ClientSessions() override {
    const json list = RunJson({"sessions", "list"});
    for (const json& session : list["sessions"]) {
      RunJson({"sessions", "delete", session["id"]});
    }
  }

  static ClientResult Run(const std::vector<std::string>& arguments,
                          const std::string& input = "") {
    return server_->RunClient(arguments, input);
  }
  static json RunJson(std::vector<std::string> arguments, const std::string& input = "") {
    arguments.push_back("--json");
    const ClientResult result = Run(arguments, input);
    EXPECT_EQ(result.exit_code, 0) << result.error;
    return json::parse(result.output, nullptr, /*allow_exceptions=*/false);
  }
  // Greedy answers that go on after EOS; `arguments` say the rest.
  static std::string Generate(std::vector<std::string> arguments) {
    const std::vector<std::string> all = {"--temperature", "0", "--max-tokens", "12",
                                          "--ignore-eos"};
    arguments.insert(arguments.end(), all.begin(), all.end());
    arguments.insert(arguments.begin(), "generate");
    return RunJson(arguments)["text"];
  }
  // What a chat prints for these lines.
  static ClientResult Chat(const std::string& lines, std::vector<std::string> arguments = {}) {
    const std::vector<std::string> all = {"chat", "--temperature", "0", "--max-tokens",
                                          "12",   "--ignore-eos"};
    arguments.insert(arguments.begin(), all.begin(), all.end());
    return Run(arguments, lines);
  }

  static inline std::unique_ptr<Retnetd> server_;
};

TEST_F(ClientSessions, AreMadeNamedForkedRewoundAndDeleted) {
  EXPECT_EQ(RunJson({"sessions", "create", "tale", "--label", "who=me", "--ttl", "60"})["id"],
            "tale");
  const json begin = RunJson({"generate", "Alice was", "--session", "tale", "--max-tokens", "8",
                              "--temperature", "0", "--ignore-eos"});
  EXPECT_EQ(begin["session_id"], "tale");
  const int tokens = begin["session_tokens"];
  EXPECT_EQ(begin["usage"]["prompt_tokens"].get<int>() + 8, tokens);
  const json session = RunJson({"sessions", "get", "tale"});
  EXPECT_EQ(session["tokens"], tokens);
  EXPECT_EQ(session["labels"]["who"], "me");
  EXPECT_NE(session["expires"], json());

  const json forks = RunJson({"sessions", "fork", "tale", "other"});
  EXPECT_EQ(forks["sessions"][0]["id"], "other");
  EXPECT_EQ(RunJson({"sessions", "fork", "tale", "--count", "2"})["sessions"].size(), 2);
  EXPECT_EQ(Generate({" again", "--session", "tale"}), Generate({" again", "--session", "other"}));
  EXPECT_EQ(RunJson({"sessions", "rewind", "other", "--to", "3"})["tokens"], 3);
  EXPECT_EQ(RunJson({"sessions", "rewind", "other", "--drop", "1"})["tokens"], 2);
  EXPECT_EQ(RunJson({"sessions", "list"})["sessions"].size(), 4);
  EXPECT_THAT(Run({"sessions", "list"}).output, HasSubstr("tale\t"));
  EXPECT_EQ(Run({"sessions", "delete", "tale"}).exit_code, 0);
  const ClientResult gone = Run({"sessions", "get", "tale"});
  EXPECT_EQ(gone.exit_code, 1);
  EXPECT_THAT(gone.error, HasSubstr("NOT_FOUND"));
}

TEST_F(ClientSessions, GoOnExactlyAsOneText) {
  Run({"sessions", "create", "tale"});
  const std::string first = Generate({"Alice", "--session", "tale"});
  EXPECT_EQ(Whole(first), Whole(Generate({"Alice"})));
  const std::string second = Generate({"--session", "tale"});
  const json whole =
      RunJson({"generate", "Alice", "--temperature", "0", "--max-tokens", "24", "--ignore-eos"});
  EXPECT_EQ(Whole(first + second), Whole(whole["text"]));
}

TEST_F(ClientSessions, AreMadeByKeep) {
  const ClientResult made = Run({"generate", "Alice", "--max-tokens", "3", "--keep"});
  ASSERT_THAT(made.error, HasSubstr("session "));
  std::string id = made.error.substr(made.error.find("session ") + 8);
  id.pop_back();
  EXPECT_EQ(Run({"generate", "--session", id, "--max-tokens", "3", "--no-keep"}).exit_code, 0);
  EXPECT_THAT(RunJson({"sessions", "list"})["sessions"], IsEmpty());
}

TEST_F(ClientSessions, TravelInFiles) {
  Run({"sessions", "create", "here"});
  Generate({"Alice was", "--session", "here"});
  const std::string file = testing::TempDir() + "client_sessions_" + std::to_string(getpid());
  ASSERT_EQ(Run({"sessions", "export", "here", "--file", file}).exit_code, 0);
  EXPECT_EQ(RunJson({"sessions", "import", "there", "--file", file})["tokens"],
            RunJson({"sessions", "get", "here"})["tokens"]);
  EXPECT_EQ(Generate({" and", "--session", "here"}), Generate({" and", "--session", "there"}));

  EXPECT_EQ(Run({"sessions", "export", "nobody", "--file", file + "2"}).exit_code, 1);
  EXPECT_FALSE(std::filesystem::exists(file + "2"));
  {
    std::fstream damaged(file, std::ios::in | std::ios::out | std::ios::binary);
    damaged.seekp(300);
    damaged.put('!');
  }
  const ClientResult refused = Run({"sessions", "import", "torn", "--file", file});
  EXPECT_EQ(refused.exit_code, 1);
  EXPECT_THAT(refused.error, HasSubstr("DATA_LOSS"));
  std::filesystem::remove(file);
}

TEST_F(ClientSessions, ScoreWhatFollows) {
  Run({"sessions", "create", "tale"});
  const json begin = RunJson({"generate", "Alice was", "--session", "tale", "--max-tokens", "12",
                              "--temperature", "0", "--ignore-eos"});
  const json score = RunJson({"score", " beginning", "--session", "tale"});
  EXPECT_EQ(score, RunJson({"score", " beginning", "--session", "tale"}));

  // As in one text: the prompt's tokens, those of the answer and those that are scored.
  std::vector<int> ids;
  for (const json& part : {RunJson({"tokenize", "Alice was"}), begin, score}) {
    for (const json& id : part["token_ids"]) ids.push_back(id);
  }
  const json whole = RunJson({"score", "--token-ids", absl::StrJoin(ids, ",")});
  const size_t scored = score["logprobs"].size();
  ASSERT_GT(scored, 0);
  ASSERT_EQ(whole["logprobs"].size(), ids.size());
  for (size_t i = 0; i < scored; ++i) {
    EXPECT_EQ(score["logprobs"][i], whole["logprobs"][ids.size() - scored + i]) << i;
  }
}

TEST_F(ClientSessions, AreUsageErrorsWhereTheyMakeNoSense) {
  for (const std::vector<std::string>& arguments : std::vector<std::vector<std::string>>{
           {"sessions"},
           {"sessions", "get"},
           {"sessions", "rewind", "a"},
           {"sessions", "rewind", "a", "--to", "1", "--drop", "1"},
           {"sessions", "fork", "a", "b", "--count", "2"},
           {"sessions", "create", "--label", "x"},
           {"generate", "--keep", "--no-keep", "x"}}) {
    EXPECT_EQ(Run(arguments).exit_code, 2) << arguments.back();
  }
}

TEST_F(ClientSessions, ChatGoesOnWithWhatItHasSaid) {
  const ClientResult chat = Chat("Alice\n\n\n");
  EXPECT_EQ(chat.exit_code, 0) << chat.error;
  Run({"sessions", "create", "tale"});
  std::string expected;  // each answer ends a line
  for (const std::string turn : {"Alice", "", ""}) {
    std::vector<std::string> arguments = {"--session", "tale"};
    if (!turn.empty()) arguments.insert(arguments.begin(), turn);
    expected += Generate(arguments) + "\n";
  }
  EXPECT_EQ(chat.output, expected);
  Run({"sessions", "delete", "tale"});
  EXPECT_THAT(RunJson({"sessions", "list"})["sessions"], IsEmpty());
}

TEST_F(ClientSessions, ChatTakesTurnsBack) {
  const ClientResult chat = Chat("Alice\n/rewind\nAlice\n/reset\nAlice\n/fork\n/rewind\nAlice\n");
  EXPECT_EQ(chat.exit_code, 0) << chat.error;
  const std::string answer = Whole(Generate({"Alice"})) + "\n";
  EXPECT_EQ(WholeLines(chat.output), answer + answer + answer + answer);
  const ClientResult none = Chat("/rewind\n");
  EXPECT_EQ(none.exit_code, 1);
  EXPECT_THAT(none.error, HasSubstr("/rewind takes 1 to 0"));
}

TEST_F(ClientSessions, ChatGoesOnWhenAnAnswerWasInterrupted) {
  Process chat(server_->Client({"chat", "--max-tokens", "30000", "--ignore-eos"}),
               "Alice\n/session\n/rewind\n");
  ASSERT_NE(chat.ReadSome(), "");
  chat.Signal(SIGINT);
  EXPECT_EQ(chat.Wait(), 0) << chat.error();
  const std::string said = chat.error();
  const size_t interrupted = said.find("(interrupted)\n");
  ASSERT_NE(interrupted, std::string::npos) << said;
  // Told at once and asked for, it is the same: nothing was added in between.
  const size_t told = interrupted + std::string("(interrupted)\n").size();
  const std::string line = said.substr(told, said.find('\n', told) - told + 1);
  EXPECT_THAT(line, HasSubstr(" tokens"));
  EXPECT_THAT(said, HasSubstr(line + line));
}

TEST_F(ClientSessions, ChatSavesAndLoads) {
  const std::string file = testing::TempDir() + "client_chat_" + std::to_string(getpid());
  const ClientResult saved = Chat("Alice\n/save " + file + "\n");
  ASSERT_EQ(saved.exit_code, 0) << saved.error;
  const ClientResult loaded = Chat("/load " + file + "\n\n");
  EXPECT_EQ(loaded.exit_code, 0) << loaded.error;
  const json whole =
      RunJson({"generate", "Alice", "--temperature", "0", "--max-tokens", "24", "--ignore-eos"});
  const std::string first = saved.output.substr(0, saved.output.find('\n'));
  EXPECT_EQ(loaded.output, Whole(whole["text"]).substr(first.size()) + "\n");
  std::filesystem::remove(file);
}

TEST_F(ClientSessions, ChatFramesTurnsAndKeepsASessionThatItWasGiven) {
  Run({"sessions", "create", "tale"});
  const ClientResult chat = Chat("cat\n", {"--session", "tale", "--template", "The {}\\nsaid"});
  EXPECT_EQ(chat.output, Generate({"The cat\nsaid"}) + "\n");
  EXPECT_GT(RunJson({"sessions", "get", "tale"})["tokens"].get<int>(), 12);
  EXPECT_THAT(Chat("/help\n/fly\n").error, HasSubstr("there is no /fly"));
}

}  // namespace
}  // namespace retnet
