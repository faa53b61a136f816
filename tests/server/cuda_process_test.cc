// The real server on the CUDA backend with the default model, beside itself on the CPU.
#include <signal.h>

#include <future>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/server/retnetd.h"

namespace retnet {
namespace {

using ::testing::HasSubstr;

// Of a log-probability: both round activations to bf16, and CUDA tails too.
constexpr double kBound = 0.1;

const char kTale[] =
    "Once upon a time there was a poor widow who lived alone in a little cottage, and before it "
    "was "
    "a garden in which two rose trees stood, one white and the other red.";

// Where two backends may part: the CPU's best two log-probabilities, each of which may be off.
bool IsNearTie(const v1::Token& token) {
  return token.top_logprobs(0).logprob() - token.top_logprobs(1).logprob() < 2 * kBound;
}

class CudaRetnetd : public ::testing::Test {
 protected:
  static constexpr char kDemo[] = RETNET_SOURCE_DIR "/models/demo";

  // Steps of few rows, so that prompts come in pieces.
  Retnetd cuda_{{"--device", "cuda", "--max-step-rows", "32"}, /*sequences=*/4, kDemo};
  Retnetd cpu_{{"--device", "cpu"}, /*sequences=*/4, kDemo};
};

std::vector<v1::Token> Greedy(const std::string& text, const Retnetd& server) {
  v1::GenerateRequest request = Prompt(text, 40);
  request.set_temperature(0);
  request.set_logprobs(2);
  const v1::CompleteResponse response = Complete(request, server.NewStub().get());
  if (response.choices_size() != 1) return {};
  const auto& tokens = response.choices(0).tokens();
  return {tokens.begin(), tokens.end()};
}

std::vector<v1::ScoredToken> ScoreText(const std::string& text, const Retnetd& server) {
  v1::ScoreRequest request;
  request.set_text(text);
  return Score(request, server.NewStub().get());
}

// The log-probabilities of `answer` after `text`.
std::vector<double> ScoreAnswer(const std::string& text, const std::vector<v1::Token>& answer,
                                const Retnetd& server) {
  v1::ScoreRequest request;
  for (const auto& token : ScoreText(text, server))
    request.mutable_token_ids()->add_ids(token.id());
  for (const v1::Token& token : answer) request.mutable_token_ids()->add_ids(token.id());
  const std::vector<v1::ScoredToken> scored = Score(request, server.NewStub().get());
  std::vector<double> logprobs;
  for (size_t i = scored.size() - answer.size(); i < scored.size(); ++i) {
    logprobs.push_back(scored[i].logprob());
  }
  return logprobs;
}

TEST_F(CudaRetnetd, GreedyTextIsTheCpusUpToANearTieAndItsLogprobsBehindItToo) {
  for (const std::string text : {"Once upon a time", "The old king said", kTale}) {
    SCOPED_TRACE(text);
    const std::vector<v1::Token> expected = Greedy(text, cpu_);
    const std::vector<v1::Token> actual = Greedy(text, cuda_);
    ASSERT_EQ(expected.size(), 40);
    ASSERT_EQ(actual.size(), expected.size());
    for (size_t i = 0; i < expected.size(); ++i) {
      if (actual[i].id() == expected[i].id()) continue;
      EXPECT_TRUE(IsNearTie(expected[i])) << "token " << i << ", " << expected[i].text();
      break;
    }
    const std::vector<double> logprobs = ScoreAnswer(text, actual, cpu_);
    ASSERT_EQ(logprobs.size(), actual.size());
    for (size_t i = 0; i < actual.size(); ++i) {
      EXPECT_NEAR(actual[i].logprob(), logprobs[i], kBound) << "token " << i;
    }
  }
}

TEST_F(CudaRetnetd, ScoresATextAsTheCpuDoes) {
  const auto expected = ScoreText(kTale, cpu_);
  const auto actual = ScoreText(kTale, cuda_);
  ASSERT_GT(expected.size(), 30);
  ASSERT_EQ(actual.size(), expected.size());
  for (size_t i = 1; i < expected.size(); ++i) {
    EXPECT_EQ(actual[i].id(), expected[i].id());
    EXPECT_NEAR(actual[i].logprob(), expected[i].logprob(), kBound) << "token " << i;
  }
}

TEST_F(CudaRetnetd, GivesStreamsExactlyWhatEachGivesAlone) {
  const auto request = [](int i) {
    v1::GenerateRequest request = Prompt(std::string(kTale).substr(i * 20), 10 + 6 * i);
    request.set_seed(i);
    request.set_temperature(i % 3 == 0 ? 0 : 0.8f);
    request.set_top_p(i % 2 == 0 ? 1 : 0.9f);
    request.set_frequency_penalty(0.5f);
    return request;
  };
  const auto stub = cuda_.NewStub();
  std::vector<Generated> alone;
  for (int i = 0; i < 6; ++i) alone.push_back(Generate(request(i), stub.get()));
  std::vector<std::future<Generated>> together;
  for (int i = 0; i < 6; ++i) {
    together.push_back(
        std::async(std::launch::async, [&, i] { return Generate(request(i), stub.get()); }));
  }
  for (int i = 0; i < 6; ++i) {
    const Generated generated = together[i].get();
    ASSERT_TRUE(generated.status.ok()) << generated.status.error_message();
    EXPECT_EQ(generated.ids, alone[i].ids);
    EXPECT_EQ(generated.ids.size(), 10 + 6 * i);
  }
}

// Across a fold, and with its state moved to host memory and back between the two calls.
TEST_F(CudaRetnetd, ASessionGoesOnWhereItStopped) {
  const auto stub = cuda_.NewStub();
  const auto go_on = [&](const std::string& text, int32_t tokens, const std::string& session) {
    v1::GenerateRequest request = Prompt(text, tokens);
    if (text.empty()) request.clear_prompt();
    request.set_temperature(0);
    request.set_session_id(session);
    const Generated generated = Generate(request, stub.get());
    EXPECT_TRUE(generated.status.ok()) << generated.status.error_message();
    return generated.text;
  };
  const std::string whole = go_on("The old king said", 80, "");
  ASSERT_EQ(cuda_.RunClient({"sessions", "create", "tale"}).exit_code, 0);
  std::string text = go_on("The old king said", 50, "tale");
  std::vector<std::future<void>> others;
  for (int i = 0; i < 5; ++i) {  // more than there are slots
    others.push_back(std::async(std::launch::async,
                                [&, i] { go_on(std::string(kTale).substr(i * 10), 3, ""); }));
  }
  for (auto& other : others) other.get();
  text += go_on("", 30, "tale");
  EXPECT_EQ(text, whole);
}

TEST_F(CudaRetnetd, SaysWhichDeviceItTookAndDrains) {
  EXPECT_EQ(cuda_.Health(), "SERVING");
  cuda_.process().Signal(SIGTERM);
  EXPECT_EQ(cuda_.process().Wait(), 0) << cuda_.process().error();
  EXPECT_THAT(cuda_.process().error(), HasSubstr("cuda ("));
}

TEST(CudaRetnetdMemory, ThatDoesNotSufficeIsNamedPartByPart) {
  Process process({RETNETD_PATH, "--model", RETNET_SOURCE_DIR "/models/demo", "--device", "cuda",
                   "--max-sequences", "1000000"});
  EXPECT_EQ(process.Wait(), 1);
  EXPECT_THAT(process.error(), HasSubstr("1000000 sequences"));
  EXPECT_THAT(process.error(), HasSubstr("--gpu-memory-fraction"));
}

}  // namespace
}  // namespace retnet
