// Sampling, scoring and the most probable tokens, on every backend. Instantiate the suite
// SampleResults with backends like those of backends.h.
#ifndef RETNET_TESTS_KERNELS_SAMPLING_CASES_H_
#define RETNET_TESTS_KERNELS_SAMPLING_CASES_H_

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <map>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "kernels/reference/reference_kernels.h"
#include "kernels/sampling.h"
#include "kernels/tensor.h"
#include "tests/kernels/backends.h"

namespace retnet {

inline constexpr float kInfinity = std::numeric_limits<float>::infinity();
inline constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

inline constexpr int64_t kMostLogits = 32003;

// Log-probabilities may differ by this much from those computed in double.
inline constexpr double kLogprobBound = 2e-5;

template <typename Backend>
class SampleResults : public BackendTest<Backend> {
 protected:
  void SetUp() override {
    BackendTest<Backend>::SetUp();
    if (this->IsSkipped()) return;
    // Backends size their scratch for logits by the packed weights.
    const std::vector<float> projection(kMostLogits);
    ASSERT_TRUE(kernels_
                    ->Pack(std::vector<HostTensor>{
                        {ElementType::kFloat32,
                         reinterpret_cast<const std::byte*>(projection.data()), kMostLogits, 1}})
                    .ok());
  }
  std::vector<SampleResult> Of(const std::vector<float>& logits,
                               const std::vector<SampleRequest>& requests) {
    const int64_t rows = static_cast<int64_t>(requests.size());
    std::vector<SampleResult> results(requests.size());
    const auto on_device = *kernels_->Upload(logits);
    auto last_tokens = *kernels_->AllocateLastTokens(1);
    kernels_->Sample(MatrixView<const float>(on_device.data(), rows, logits.size() / rows),
                     requests, std::vector<int32_t>(rows, kNotKept), last_tokens,
                     std::span<SampleResult>(results));
    EXPECT_TRUE(kernels_->Finish().ok());
    return results;
  }
  SampleResult Of(const std::vector<float>& logits, const SampleRequest& request) {
    return Of(logits, std::vector<SampleRequest>{request})[0];
  }
  TokenId Sample(const std::vector<float>& logits, const Sampling& sampling) {
    return Of(logits, SampleRequest{.sampling = sampling}).token;
  }
  // How often each token is sampled in draws 0 … draws − 1, a multiple of 250 of them.
  std::map<TokenId, int> Frequencies(const std::vector<float>& logits, Sampling sampling,
                                     int draws) {
    constexpr int kTogether = 250;
    std::map<TokenId, int> frequencies;
    std::vector<float> rows;
    for (int row = 0; row < kTogether; ++row) {
      rows.insert(rows.end(), logits.begin(), logits.end());
    }
    std::vector<SampleRequest> requests(kTogether);
    for (int draw = 0; draw < draws;) {
      for (SampleRequest& request : requests) {
        request.sampling = sampling;
        request.sampling.draw = draw++;
      }
      for (const SampleResult& result : Of(rows, requests)) ++frequencies[result.token];
    }
    return frequencies;
  }
  std::set<TokenId> Sampled(const std::vector<float>& logits, const Sampling& sampling) {
    std::set<TokenId> tokens;
    for (const auto& [token, count] : Frequencies(logits, sampling, 1000)) tokens.insert(token);
    return tokens;
  }

  std::unique_ptr<typename Backend::Type> kernels_ = Backend::Make(/*threads=*/2);
};
TYPED_TEST_SUITE_P(SampleResults);

inline std::vector<float> NormalLogits(int64_t size, float deviation, std::mt19937& random) {
  std::normal_distribution<float> normal(0, deviation);
  std::vector<float> logits(size);
  for (float& logit : logits) logit = normal(random);
  return logits;
}

TYPED_TEST_P(SampleResults, AtTemperatureZeroAreTheGreatestLogitOfTheLowestId) {
  EXPECT_EQ(this->Sample({1, 3, 2, 3}, {.temperature = 0}), 1);
  EXPECT_EQ(this->Sample({-5}, {.temperature = 0}), 0);
  std::vector<float> logits(1000, -1.0f);
  logits[997] = logits[998] = -0.5f;
  EXPECT_EQ(this->Sample(logits, {.temperature = 0}), 997);
}

// Pearson's test: under the hypothesis the statistic is near its degrees of freedom; 100 for 49
// would come about once in 50,000 seeds, and the seed is fixed.
TYPED_TEST_P(SampleResults, FollowTheSoftmax) {
  constexpr int kDraws = 20000;
  std::mt19937 random(5);
  const std::vector<float> logits = NormalLogits(50, 1, random);
  for (float temperature : {0.7f, 1.0f, 1.8f}) {
    const auto frequencies =
        this->Frequencies(logits, {.temperature = temperature, .seed = 77}, kDraws);
    double total = 0;
    for (float logit : logits) total += std::exp(logit / temperature);
    double statistic = 0;
    for (TokenId token = 0; token < 50; ++token) {
      const double expected = kDraws * std::exp(logits[token] / temperature) / total;
      const auto found = frequencies.find(token);
      const double count = found == frequencies.end() ? 0 : found->second;
      statistic += (count - expected) * (count - expected) / expected;
    }
    EXPECT_LT(statistic, 100);
    EXPECT_GT(statistic, 20);
  }
}

// Probabilities 0.4, 0.3, 0.2, 0.1 in the order of ids 2, 0, 3, 1.
inline std::vector<float> FourLogits() {
  return {std::log(0.3f), std::log(0.1f), std::log(0.4f), std::log(0.2f)};
}

TYPED_TEST_P(SampleResults, KeepWhatEachCutKeeps) {
  using Tokens = std::set<TokenId>;
  const std::vector<float> logits = FourLogits();
  EXPECT_EQ(this->Sampled(logits, {}), (Tokens{0, 1, 2, 3}));
  EXPECT_EQ(this->Sampled(logits, {.top_k = 1}), (Tokens{2}));
  EXPECT_EQ(this->Sampled(logits, {.top_k = 3}), (Tokens{0, 2, 3}));
  EXPECT_EQ(this->Sampled(logits, {.top_k = 9}), (Tokens{0, 1, 2, 3}));
  EXPECT_EQ(this->Sampled(logits, {.top_p = 0}), (Tokens{2}));
  EXPECT_EQ(this->Sampled(logits, {.top_p = 0.39f}), (Tokens{2}));
  EXPECT_EQ(this->Sampled(logits, {.top_p = 0.41f}), (Tokens{0, 2}));
  EXPECT_EQ(this->Sampled(logits, {.top_p = 0.71f}), (Tokens{0, 2, 3}));
  EXPECT_EQ(this->Sampled(logits, {.min_p = 0.2501f}), (Tokens{0, 2, 3}));
  EXPECT_EQ(this->Sampled(logits, {.min_p = 0.51f}), (Tokens{0, 2}));
  EXPECT_EQ(this->Sampled(logits, {.min_p = 1}), (Tokens{2}));
  // After top_k = 3 the probabilities are 4/9, 3/9, 2/9, so that top_p = 0.75 needs only two.
  EXPECT_EQ(this->Sampled(logits, {.top_k = 3, .top_p = 0.75f}), (Tokens{0, 2}));
  EXPECT_EQ(this->Sampled(logits, {.top_p = 0.75f}), (Tokens{0, 2, 3}));
  EXPECT_EQ(this->Sampled(logits, {.top_k = 3, .min_p = 0.6f}), (Tokens{0, 2}));
}

TYPED_TEST_P(SampleResults, CutsTakeTheLowestIdsAmongEquals) {
  const std::vector<float> logits(300, 2.0f);
  EXPECT_EQ(this->Sampled(logits, {.top_k = 3}), (std::set<TokenId>{0, 1, 2}));
  EXPECT_EQ(this->Sampled(logits, {.top_p = 3.5f / 300}), (std::set<TokenId>{0, 1, 2, 3}));
}

TYPED_TEST_P(SampleResults, EditsScaleThenAdd) {
  // Penalised: 2 / 1.6 = 1.25 and −1 · 1.6 = −1.6.
  const std::vector<LogitEdit> positive = {{0, 1.6f, 0}};
  EXPECT_EQ(this->Sample({2, 1.2f}, {.temperature = 0, .edits = positive}), 0);
  EXPECT_EQ(this->Sample({2, 1.3f}, {.temperature = 0, .edits = positive}), 1);
  const std::vector<LogitEdit> negative = {{1, 1.6f, 0}};
  EXPECT_EQ(this->Sample({-1.5f, -1}, {.temperature = 0, .edits = negative}), 0);
  EXPECT_EQ(this->Sample({-1.7f, -1}, {.temperature = 0, .edits = negative}), 1);
  const std::vector<LogitEdit> both = {{0, 2, -0.5f}, {1, 1, 0.25f}};  // 2 / 2 − 0.5, 0.2 + 0.25
  EXPECT_EQ(this->Sample({2, 0.2f}, {.temperature = 0, .edits = both}), 0);
  EXPECT_EQ(this->Sample({2, 0.3f}, {.temperature = 0, .edits = both}), 1);
}

TYPED_TEST_P(SampleResults, NeverSampleABannedToken) {
  const std::vector<LogitEdit> ban = {{2, 1, -kInfinity}, {0, 1, -kInfinity}};
  EXPECT_EQ(this->Sampled(FourLogits(), {.edits = ban}), (std::set<TokenId>{1, 3}));
  EXPECT_EQ(this->Sampled(FourLogits(), {.top_k = 3, .edits = ban}), (std::set<TokenId>{1, 3}));
  EXPECT_EQ(this->Sampled(FourLogits(), {.top_p = 0.99f, .edits = ban}), (std::set<TokenId>{1, 3}));
  EXPECT_EQ(this->Sample(FourLogits(), {.temperature = 0, .edits = ban}), 3);
}

TYPED_TEST_P(SampleResults, LogprobsAreOfTheModelBeforeEditsAndTemperature) {
  const std::vector<LogitEdit> ban = {{2, 1, -kInfinity}};
  const SampleResult result =
      this->Of(FourLogits(), SampleRequest{.sampling = {.temperature = 0, .edits = ban},
                                           .logprob = true,
                                           .top_logprobs = 3});
  EXPECT_EQ(result.token, 0);
  EXPECT_NEAR(result.logprob, std::log(0.3), 1e-6);
  ASSERT_EQ(result.top.size(), 3);
  EXPECT_EQ(result.top[0].token, 2);
  EXPECT_EQ(result.top[1].token, 0);
  EXPECT_EQ(result.top[2].token, 3);
  EXPECT_NEAR(result.top[0].logprob, std::log(0.4), 1e-6);
  EXPECT_NEAR(result.top[2].logprob, std::log(0.2), 1e-6);
}

TYPED_TEST_P(SampleResults, LogprobsThatAreNotRequestedAreAbsent) {
  const SampleResult result = this->Of(FourLogits(), SampleRequest{});
  EXPECT_TRUE(std::isnan(result.logprob));
  EXPECT_TRUE(result.top.empty());
}

TYPED_TEST_P(SampleResults, ReportTheLogprobOfAScoredToken) {
  const SampleResult result = this->Of(FourLogits(), SampleRequest{.scored_token = 1});
  EXPECT_EQ(result.token, 1);
  EXPECT_NEAR(result.logprob, std::log(0.1), 1e-6);
}

TYPED_TEST_P(SampleResults, TopLogprobsHaveTheLowestIdFirstAmongEqualsAndEndWithTheVocabulary) {
  const SampleResult result =
      this->Of({1, 2, 2, 1, 2}, SampleRequest{.scored_token = 0, .top_logprobs = 9});
  std::vector<TokenId> order;
  for (const TokenLogprob& token : result.top) order.push_back(token.token);
  EXPECT_EQ(order, (std::vector<TokenId>{1, 2, 4, 0, 3}));
}

// What can be asked of a row.
inline std::vector<SampleRequest> EveryKindOfRequest() {
  std::vector<SampleRequest> requests;
  for (const Sampling& sampling :
       {Sampling{.temperature = 0}, Sampling{}, Sampling{.top_k = 2, .top_p = 0.5f},
        Sampling{.top_p = 0.5f}, Sampling{.min_p = 0.5f}}) {
    requests.push_back({.sampling = sampling});
    requests.push_back({.sampling = sampling, .logprob = true, .top_logprobs = 3});
  }
  requests.push_back({.scored_token = 1});
  requests.push_back({.scored_token = 0, .top_logprobs = kMaxTopLogprobs});
  return requests;
}

inline void ExpectNoResult(const SampleResult& result) {
  EXPECT_EQ(result.token, kNoToken);
  EXPECT_TRUE(std::isnan(result.logprob));
  EXPECT_TRUE(result.top.empty());
}

// One such number anywhere in a row, among vector lanes and behind them, and rows of nothing else.
// The rows beside it are as they are without it.
TYPED_TEST_P(SampleResults, OfARowThatIsNotFiniteAreNone) {
  constexpr int64_t kVocabulary = 131;
  std::mt19937 random(9);
  const std::vector<float> sound = NormalLogits(kVocabulary, 2, random);
  std::vector<std::vector<float>> rows;
  for (const float number : {kNaN, kInfinity, -kInfinity}) {
    for (const int64_t at : {0, 64, 127, 130}) {
      rows.push_back(sound);
      rows.back()[at] = number;
    }
    rows.emplace_back(kVocabulary, number);
  }
  for (const SampleRequest& request : EveryKindOfRequest()) {
    std::vector<float> logits;
    for (const std::vector<float>& row : rows) {
      logits.insert(logits.end(), row.begin(), row.end());
      logits.insert(logits.end(), sound.begin(), sound.end());
    }
    const SampleResult alone = this->Of(sound, request);
    EXPECT_NE(alone.token, kNoToken);
    const auto results = this->Of(logits, std::vector<SampleRequest>(2 * rows.size(), request));
    for (size_t i = 0; i < rows.size(); ++i) {
      SCOPED_TRACE(i);
      ExpectNoResult(results[2 * i]);
      EXPECT_EQ(results[2 * i + 1].token, alone.token);
      EXPECT_EQ(results[2 * i + 1].top, alone.top);
    }
  }
}

TYPED_TEST_P(SampleResults, OfARowWhoseTokensAreAllBannedAreNone) {
  std::vector<LogitEdit> ban;
  for (TokenId token = 0; token < 4; ++token) ban.push_back({token, 1, -kInfinity});
  for (SampleRequest request : EveryKindOfRequest()) {
    request.sampling.edits = ban;
    if (request.scored_token == kNoToken) {
      ExpectNoResult(this->Of(FourLogits(), request));
    } else {
      EXPECT_EQ(this->Of(FourLogits(), request).token, request.scored_token);  // edits no scores
    }
  }
}

// The difference of two finite numbers may be none.
TYPED_TEST_P(SampleResults, AreFiniteForEveryFiniteLogit) {
  constexpr float kGreatest = std::numeric_limits<float>::max();
  const std::vector<float> logits = {-kGreatest, kGreatest, 0, -1e38f, 1e38f};
  for (const SampleRequest& request : EveryKindOfRequest()) {
    const SampleResult result = this->Of(logits, request);
    EXPECT_EQ(result.token, request.scored_token == kNoToken ? 1 : request.scored_token);
    EXPECT_EQ(std::isfinite(result.logprob), request.logprob || request.scored_token != kNoToken);
    for (const TokenLogprob& token : result.top) EXPECT_TRUE(std::isfinite(token.logprob));
  }
  // An edit may overflow; the token is then the best or the worst, not lost.
  const std::vector<LogitEdit> edits = {{1, 0.01f, 100}, {3, 100, -100}};
  EXPECT_EQ(this->Sample(logits, {.temperature = 0, .edits = edits}), 1);
}

TYPED_TEST_P(SampleResults, TinyTemperaturesAreGreedy) {
  std::mt19937 random(6);
  const std::vector<float> logits = NormalLogits(130, 3, random);
  const TokenId greedy = this->Sample(logits, {.temperature = 0});
  EXPECT_EQ(this->Sample(logits, {.temperature = 1e-30f}), greedy);
  EXPECT_EQ(this->Sample(logits, {.temperature = std::numeric_limits<float>::denorm_min()}),
            greedy);
}

// A random request. Its edits are stored in `edits`.
inline SampleRequest RandomRequest(int64_t vocabulary, std::mt19937& random,
                                   std::vector<LogitEdit>* edits) {
  const auto one_of = [&](std::vector<float> values) { return values[random() % values.size()]; };
  SampleRequest request;
  request.sampling.temperature = one_of({0.3f, 0.8f, 1.0f, 1.0f, 1.5f});
  request.sampling.top_k = static_cast<int32_t>(one_of({0, 0, 1, 5, 40, 300, 5000}));
  request.sampling.top_p = one_of({1.0f, 1.0f, 0.3f, 0.9f, 0.999f});
  request.sampling.min_p = one_of({0.0f, 0.0f, 0.01f, 0.2f});
  request.sampling.seed = random();
  request.sampling.draw = (uint64_t{random()} << 32) + random();
  std::set<TokenId> edited;
  while (edited.size() < std::min<int64_t>(vocabulary / 2, random() % 30)) {
    edited.insert(static_cast<TokenId>(random() % vocabulary));
  }
  for (TokenId token : edited) {
    edits->push_back({token, one_of({1.0f, 1.3f}), one_of({0.0f, -0.5f, 2.0f, -kInfinity})});
  }
  request.sampling.edits = *edits;
  request.logprob = random() % 2 == 0;
  request.top_logprobs = static_cast<int32_t>(one_of({0, 1, kMaxTopLogprobs}));
  return request;
}

TYPED_TEST_P(SampleResults, AgreeWithTheReferenceInAnyBatch) {
  std::mt19937 random(7);
  for (int64_t vocabulary :
       std::initializer_list<int64_t>{1, 2, 5, 63, 64, 65, 1000, 4096, kMostLogits}) {
    constexpr int kRows = 40;
    std::vector<float> logits;
    std::vector<std::vector<LogitEdit>> edits(kRows);
    std::vector<SampleRequest> requests;
    for (int row = 0; row < kRows; ++row) {
      std::vector<float> more = NormalLogits(vocabulary, row % 2 == 0 ? 1 : 4, random);
      if (row % 5 == 0) {  // many ties
        for (float& logit : more) logit = std::round(logit);
      }
      logits.insert(logits.end(), more.begin(), more.end());
      requests.push_back(RandomRequest(vocabulary, random, &edits[row]));
    }
    const std::vector<SampleResult> results = this->Of(logits, requests);
    std::vector<SampleResult> expected(kRows);
    ReferenceKernels::LastTokens last_tokens;
    ReferenceKernels().Sample({logits.data(), kRows, vocabulary}, requests,
                              std::vector<int32_t>(kRows, kNotKept), last_tokens, expected);
    for (int row = 0; row < kRows; ++row) {
      SCOPED_TRACE("vocabulary " + std::to_string(vocabulary) + ", row " + std::to_string(row));
      EXPECT_EQ(results[row].token, expected[row].token);
      EXPECT_EQ(std::isnan(results[row].logprob), std::isnan(expected[row].logprob));
      if (requests[row].logprob) {
        EXPECT_NEAR(results[row].logprob, expected[row].logprob, kLogprobBound);
      }
      ASSERT_EQ(results[row].top.size(), expected[row].top.size());
      for (size_t i = 0; i < results[row].top.size(); ++i) {
        EXPECT_EQ(results[row].top[i].token, expected[row].top[i].token);
        EXPECT_NEAR(results[row].top[i].logprob, expected[row].top[i].logprob, kLogprobBound);
      }
      const SampleResult alone =
          this->Of({logits.begin() + row * vocabulary, logits.begin() + (row + 1) * vocabulary},
                   requests[row]);
      EXPECT_EQ(alone.token, results[row].token);
      EXPECT_EQ(alone.top, results[row].top);
    }
  }
}

REGISTER_TYPED_TEST_SUITE_P(SampleResults, AtTemperatureZeroAreTheGreatestLogitOfTheLowestId,
                            FollowTheSoftmax, KeepWhatEachCutKeeps, CutsTakeTheLowestIdsAmongEquals,
                            EditsScaleThenAdd, NeverSampleABannedToken,
                            LogprobsAreOfTheModelBeforeEditsAndTemperature,
                            LogprobsThatAreNotRequestedAreAbsent, ReportTheLogprobOfAScoredToken,
                            TopLogprobsHaveTheLowestIdFirstAmongEqualsAndEndWithTheVocabulary,
                            OfARowThatIsNotFiniteAreNone, OfARowWhoseTokensAreAllBannedAreNone,
                            AreFiniteForEveryFiniteLogit, TinyTemperaturesAreGreedy,
                            AgreeWithTheReferenceInAnyBatch);

}  // namespace retnet

#endif  // RETNET_TESTS_KERNELS_SAMPLING_CASES_H_
