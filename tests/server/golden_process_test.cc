// The real server with the checkpoints whose logits the original code gave: the log-probabilities
// that clients get for a given text, and for the same text sampled. On the device of
// RETNET_TEST_DEVICE.
#include <algorithm>
#include <cmath>
#include <future>
#include <ostream>
#include <span>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/models/golden.h"
#include "tests/server/retnetd.h"

namespace retnet {
namespace {

// Of a golden sequence's tokens but the first: the log-probability after the ones before it.
std::vector<double> GoldenLogprobs(const GoldenSequence& sequence) {
  const size_t vocabulary = sequence.logits.size() / sequence.positions.size();
  std::vector<double> logprobs;
  for (size_t i = 0; i + 1 < sequence.tokens.size(); ++i) {
    EXPECT_EQ(sequence.positions[i], i) << "the logits of a position are missing";
    const std::span logits = std::span(sequence.logits).subspan(i * vocabulary, vocabulary);
    double total = 0;
    for (float logit : logits) total += std::exp(double{logit});
    logprobs.push_back(logits[sequence.tokens[i + 1]] - std::log(total));
  }
  return logprobs;
}

bool RoundsActivations(const Golden& golden) {
  return std::string(RETNET_TEST_DEVICE) == "cuda" || golden.bf16_weights;
}

// What the bounds of the goldens say of logits, said of the log-probabilities made of them.
void ExpectWithinBounds(const Golden& test, const std::vector<double>& actual,
                        const GoldenSequence& sequence) {
  const bool rounds = RoundsActivations(test);
  const double bound = rounds ? sequence.bf16_max_error : test.float32_bound;
  const std::vector<double> golden = GoldenLogprobs(sequence);
  ASSERT_FALSE(actual.empty());
  ASSERT_LE(actual.size(), golden.size());
  double squares = 0;
  for (size_t i = 0; i < actual.size(); ++i) {
    ASSERT_NEAR(actual[i], golden[i], 2 * bound) << "token " << i + 1;
    squares += (actual[i] - golden[i]) * (actual[i] - golden[i]);
  }
  if (!rounds) return;
  EXPECT_LE(std::sqrt(squares / actual.size()), 1.5 * sequence.bf16_rms_error);
}

std::vector<double> ScoreTokens(const GoldenSequence& sequence, v1::Generation::Stub* stub) {
  v1::ScoreRequest request;
  request.mutable_token_ids()->mutable_ids()->Assign(sequence.tokens.begin(),
                                                     sequence.tokens.end());
  std::vector<double> logprobs;
  const std::vector<v1::ScoredToken> tokens = Score(request, stub);
  EXPECT_EQ(tokens.size(), sequence.tokens.size());
  for (size_t i = 1; i < tokens.size(); ++i) logprobs.push_back(tokens[i].logprob());
  return logprobs;
}

// Has the server sample the sequence's first `count` tokens one by one, each by a request of its
// own that goes on with the session of the one before; a bias leaves it no choice, and the
// log-probabilities that it reports are those without the bias.
std::vector<double> SampleTokens(const GoldenSequence& sequence, size_t count,
                                 v1::Generation::Stub* stub) {
  std::vector<double> logprobs;
  std::string session;
  for (size_t i = 1; i < count; ++i) {
    v1::GenerateRequest request;
    if (i == 1) request.mutable_token_ids()->add_ids(sequence.tokens[0]);
    request.set_session_id(session);
    request.set_keep(true);
    request.set_max_tokens(1);
    request.set_ignore_eos(true);
    request.set_temperature(0);
    request.set_logprobs(0);
    (*request.mutable_logit_bias())[sequence.tokens[i]] = 100;
    const v1::CompleteResponse response = Complete(request, stub);
    if (response.choices_size() != 1) break;
    const v1::Token& token = response.choices(0).tokens(0);
    EXPECT_EQ(token.id(), sequence.tokens[i]);
    logprobs.push_back(token.logprob());
    session = response.session_id();
  }
  return logprobs;
}

class ServedGoldens : public ::testing::TestWithParam<Golden> {};

// Texts are scored in pieces while others are sampled, over a fold or two.
TEST_P(ServedGoldens, GivenAndSampledTokensHaveTheOriginalCodesLogprobs) {
  const std::vector<GoldenSequence> sequences = ReadGolden(GetParam().name);
  const Retnetd server({"--device", RETNET_TEST_DEVICE, "--max-step-rows", "48"}, /*sequences=*/3,
                       GoldenFolder(GetParam().name));
  for (const GoldenSequence& sequence : sequences) {
    if (sequence.tokens.size() == 1) continue;  // has no next one
    auto sampled = std::async(std::launch::async, [&] {
      return SampleTokens(sequence, std::min<size_t>(75, sequence.tokens.size()),
                          server.NewStub().get());
    });
    {
      SCOPED_TRACE("given");
      ExpectWithinBounds(GetParam(), ScoreTokens(sequence, server.NewStub().get()), sequence);
    }
    SCOPED_TRACE("sampled");
    ExpectWithinBounds(GetParam(), sampled.get(), sequence);
  }
}

// But those that keep the logits of some positions only.
std::vector<Golden> WithAllLogits() {
  std::vector<Golden> goldens = Goldens();
  std::erase_if(goldens, [](const Golden& golden) { return golden.name == "long"; });
  return goldens;
}

INSTANTIATE_TEST_SUITE_P(, ServedGoldens, ::testing::ValuesIn(WithAllLogits()),
                         [](const auto& info) {
                           std::string name = info.param.name;
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

}  // namespace
}  // namespace retnet
