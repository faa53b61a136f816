#include "engine/validate.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "tests/engine/oracle.h"

namespace retnet {
namespace {

using testing::HasSubstr;

constexpr int32_t kVocabulary = 50;
constexpr int32_t kContext = 20;
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInfinity = std::numeric_limits<float>::infinity();

Request ValidRequest() {
  Request request;
  request.prompt = {1, 2, 3};
  request.max_tokens = 5;
  return request;
}

absl::Status Validate(const Request& request) {
  return ValidateRequest(request, kVocabulary, kContext);
}

struct Case {
  std::string message;  // field, value and bound
  std::function<void(Request&)> change;
};

void ExpectRefused(const Case& refused) {
  SCOPED_TRACE(refused.message);
  Request request = ValidRequest();
  refused.change(request);
  const absl::Status status = Validate(request);
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(status.message(), refused.message);
}

TEST(Validate, NamesFieldValueAndBoundOfIntegers) {
  const std::vector<Case> cases = {
      {"prompt has 0 tokens; it must have at least 1", [](Request& r) { r.prompt.clear(); }},
      {"prompt has 20 tokens; it must have fewer than the context length, 20",
       [](Request& r) { r.prompt.assign(20, 1); }},
      {"prompt[2] is token 50; the vocabulary has tokens 0 to 49",
       [](Request& r) { r.prompt[2] = 50; }},
      {"prompt[0] is token -1; the vocabulary has tokens 0 to 49",
       [](Request& r) { r.prompt[0] = kNoToken; }},
      {"max_tokens is 0; it must be at least 1", [](Request& r) { r.max_tokens = 0; }},
      {"min_tokens is -1; it must be from 0 to 5", [](Request& r) { r.min_tokens = -1; }},
      {"min_tokens is 6; it must be from 0 to 5", [](Request& r) { r.min_tokens = 6; }},
      {"top_logprobs is 21; it must be from 0 to 20", [](Request& r) { r.top_logprobs = 21; }},
      {"top_logprobs is -1; it must be from 0 to 20", [](Request& r) { r.top_logprobs = -1; }},
      {"top_k is -1; it must be at least 0", [](Request& r) { r.sampling.top_k = -1; }},
      {"stop_token_ids[1] is token 50; the vocabulary has tokens 0 to 49",
       [](Request& r) {
         r.stop_token_ids = {1, 50};
       }},
      {"logit_bias[0] is token -3; the vocabulary has tokens 0 to 49",
       [](Request& r) {
         r.sampling.logit_bias = {{-3, 1.0f}};
       }},
      {"logit_bias names token 4 twice; each may be named once",
       [](Request& r) {
         r.sampling.logit_bias = {{4, 1.0f}, {5, 1.0f}, {4, 2.0f}};
       }},
      {"stop_token_ids has all 50 tokens of the vocabulary; with min_tokens = 1 it must leave at "
       "least 1",
       [](Request& r) {
         r.min_tokens = 1;
         for (TokenId token = 0; token < kVocabulary; ++token) r.stop_token_ids.push_back(token);
       }},
  };
  for (const Case& refused : cases) ExpectRefused(refused);
}

TEST(Validate, RefusesNumbersOutsideTheirBoundsNanIncluded) {
  struct Field {
    std::string name;
    float least;
    float greatest;
    std::function<void(SamplingParams&, float)> set;
  };
  const std::vector<Field> fields = {
      {"top_p", 0.0f, 1.0f, [](SamplingParams& s, float x) { s.top_p = x; }},
      {"min_p", 0.0f, 1.0f, [](SamplingParams& s, float x) { s.min_p = x; }},
      {"repetition_penalty", 0.01f, 100.0f,
       [](SamplingParams& s, float x) { s.repetition_penalty = x; }},
      {"frequency_penalty", -2.0f, 2.0f,
       [](SamplingParams& s, float x) { s.frequency_penalty = x; }},
      {"presence_penalty", -2.0f, 2.0f, [](SamplingParams& s, float x) { s.presence_penalty = x; }},
      {"logit_bias of token 7", -100.0f, 100.0f,
       [](SamplingParams& s, float x) {
         s.logit_bias = {{7, x}};
       }},
      {"temperature", 1e-4f, 100.0f, [](SamplingParams& s, float x) { s.temperature = x; }},
  };
  for (const Field& field : fields) {
    Request request = ValidRequest();
    for (float good : {field.least, field.greatest}) {
      field.set(request.sampling, good);
      EXPECT_TRUE(Validate(request).ok()) << field.name << " " << good;
    }
    for (float bad : {std::nextafter(field.least, -kInfinity),
                      std::nextafter(field.greatest, kInfinity), kNan, kInfinity, -kInfinity}) {
      field.set(request.sampling, bad);
      const absl::Status status = Validate(request);
      EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << field.name << " " << bad;
      EXPECT_THAT(std::string(status.message()), HasSubstr(field.name + " is "));
      EXPECT_THAT(std::string(status.message()), HasSubstr(" to "));
    }
  }
}

TEST(Validate, AcceptsWhatIsMeantToWork) {
  Request request = ValidRequest();
  request.sampling.temperature = 0.0f;
  request.sampling.top_k = std::numeric_limits<int32_t>::max();
  request.max_tokens = std::numeric_limits<int32_t>::max();
  request.stop_token_ids = {3, 3, 4};
  request.deadline = absl::InfinitePast();
  request.priority = std::numeric_limits<int32_t>::min();
  EXPECT_TRUE(Validate(request).ok());
  request.prompt.assign(kContext - 1, 0);
  EXPECT_TRUE(Validate(request).ok());
}

TEST(Validate, LetsAScoreBeLongerThanTheContext) {
  Request request;
  request.kind = RequestKind::kScore;
  request.prompt.assign(10 * kContext, 1);
  EXPECT_TRUE(Validate(request).ok()) << "nothing of sampling is read, so max_tokens may be 0";
  request.prompt.back() = kVocabulary;
  EXPECT_FALSE(Validate(request).ok());
}

TEST(Validate, HoldsRequestsOnSessionsToTheirRules) {
  const auto expect_refused = [](const Request& request, const std::string& what) {
    const absl::Status status = Validate(request);
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
    EXPECT_NE(std::string(status.message()).find(what), std::string::npos) << status;
  };
  Request request = ValidRequest();
  request.session = {"anna", "talk"};
  EXPECT_TRUE(Validate(request).ok());
  request.prompt.clear();
  EXPECT_TRUE(Validate(request).ok()) << "the session may have tokens";
  request.kind = RequestKind::kScore;
  expect_refused(request, "prompt has 0 tokens");

  request = ValidRequest();
  request.kind = RequestKind::kPrefill;
  expect_refused(request, "session is not set");
  request.session = {"anna", "talk"};
  request.max_tokens = 0;
  EXPECT_TRUE(Validate(request).ok()) << "it generates nothing";

  request = ValidRequest();
  request.samples = 2;
  EXPECT_TRUE(Validate(request).ok());
  request.session = {"anna", "talk"};
  expect_refused(request, "samples of session talk");
  request.samples = 1;
  request.sample_of = 1;
  expect_refused(request, "samples of session talk");
  request = ValidRequest();
  request.samples = 0;
  expect_refused(request, "samples is 0");

  request = ValidRequest();
  request.max_draft_tokens = kMaxDraftTokens;
  EXPECT_TRUE(Validate(request).ok());
  request.max_draft_tokens = kMaxDraftTokens + 1;
  expect_refused(request, "max_draft_tokens is 32");

  request = ValidRequest();
  const auto length = static_cast<int32_t>(request.prompt.size());
  request.cache_boundaries = {0, length};
  EXPECT_TRUE(Validate(request).ok());
  for (const std::vector<int32_t>& bad : {std::vector<int32_t>{-1}, {length + 1}, {length, 0}}) {
    request.cache_boundaries = bad;
    expect_refused(request, "cache_boundaries is ");
  }
}

TEST(Validate, AcceptsEveryRandomRequest) {
  const FakeModelOptions options;
  std::mt19937 random(3);
  for (int i = 0; i < 1000; ++i) {
    const Request request = RandomRequest(options, kContext, random);
    EXPECT_TRUE(ValidateRequest(request, options.vocab_size, kContext).ok());
  }
}

}  // namespace
}  // namespace retnet
