#include "server/wire/request_translation.h"

#include <cmath>
#include <functional>
#include <limits>
#include <set>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/server/wire/request_translation_fixture.h"

namespace retnet {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

TEST_F(RequestTranslation, TakesDefaultsWhereNothingIsSet) {
  const auto plan = TranslateGenerate(Ids(), model_);
  ASSERT_TRUE(plan.ok()) << plan.status();
  const SamplingParams& sampling = plan->request.sampling;
  EXPECT_EQ(sampling.temperature, 1.0f);
  EXPECT_EQ(sampling.top_k, 0);
  EXPECT_EQ(sampling.top_p, 1.0f);
  EXPECT_EQ(sampling.min_p, 0.0f);
  EXPECT_EQ(sampling.repetition_penalty, 1.0f);
  EXPECT_EQ(plan->request.max_tokens, 100);
  EXPECT_EQ(plan->samples, 1);
  EXPECT_FALSE(plan->request.logprobs);
  EXPECT_THAT(plan->request.stop_token_ids, ElementsAre(2));
}

TEST_F(RequestTranslation, PrefersTheRequestToTheCheckpointToTheDefault) {
  model_.defaults.temperature = 0.5f;
  model_.defaults.top_k = 7;
  model_.defaults.top_p = 0.9f;
  model_.defaults.max_new_tokens = 11;
  v1::GenerateRequest request = Ids();
  request.set_temperature(0);
  request.set_top_k(-1);
  const auto plan = TranslateGenerate(request, model_);
  ASSERT_TRUE(plan.ok()) << plan.status();
  EXPECT_EQ(plan->request.sampling.temperature, 0.0f);
  EXPECT_EQ(plan->request.sampling.top_k, 0);
  EXPECT_EQ(plan->request.sampling.top_p, 0.9f);
  EXPECT_EQ(plan->request.max_tokens, 11);
}

TEST_F(RequestTranslation, DropsDefaultsThatNoRequestMayHave) {
  model_.defaults.top_p = 0.5f;
  EXPECT_THAT(DropInvalidDefaults(&model_), IsEmpty());
  model_.defaults.repetition_penalty = 500.0f;
  EXPECT_THAT(DropInvalidDefaults(&model_),
              ElementsAre(HasSubstr("generation_config.json: repetition_penalty is 500")));
  EXPECT_FALSE(model_.defaults.repetition_penalty.has_value());
  EXPECT_EQ(model_.defaults.top_p, 0.5f);
  EXPECT_THAT(DropInvalidDefaults(&model_), IsEmpty());
}

TEST_F(RequestTranslation, PutsBosBeforeTextOnly) {
  v1::GenerateRequest request;
  request.set_text("ab");
  const TokenId ab = tokenizer_.Encode("ab")->at(0);
  EXPECT_THAT(TranslateGenerate(request, model_)->request.prompt, ElementsAre(1, ab));
  request.set_add_bos(false);
  EXPECT_THAT(TranslateGenerate(request, model_)->request.prompt, ElementsAre(ab));
  request = Ids();
  request.set_add_bos(true);
  EXPECT_THAT(TranslateGenerate(request, model_)->request.prompt, ElementsAre(5));
}

TEST_F(RequestTranslation, RefusesWhatIsOutOfBoundsNamingFieldAndBound) {
  using Change = std::function<void(v1::GenerateRequest*)>;
  const float nan = std::nanf("");
  const float infinity = std::numeric_limits<float>::infinity();
  const int32_t huge = std::numeric_limits<int32_t>::max();
  const std::vector<std::pair<std::string, Change>> cases = {
      {"no prompt", [](auto* r) { r->clear_prompt(); }},
      {"text is empty", [](auto* r) { r->set_text(""); }},
      {"token_ids is empty", [](auto* r) { r->mutable_token_ids()->clear_ids(); }},
      {"token -1", [](auto* r) { r->mutable_token_ids()->add_ids(-1); }},
      {"prompt has 101 tokens",
       [](auto* r) { r->mutable_token_ids()->mutable_ids()->Resize(101, 5); }},
      {"max_tokens is 0", [](auto* r) { r->set_max_tokens(0); }},
      {"max_tokens is 2147483647", [=](auto* r) { r->set_max_tokens(huge); }},
      {"max_tokens is -1; it must be from 1 to 100", [](auto* r) { r->set_max_tokens(-1); }},
      {"min_tokens is 3; it must be from 0 to 2",
       [](auto* r) { r->set_max_tokens(2), r->set_min_tokens(3); }},
      {"temperature is -1", [](auto* r) { r->set_temperature(-1); }},
      {"temperature is nan", [=](auto* r) { r->set_temperature(nan); }},
      {"temperature is inf", [=](auto* r) { r->set_temperature(infinity); }},
      {"top_k is -2", [](auto* r) { r->set_top_k(-2); }},
      {"top_p is 1.5", [](auto* r) { r->set_top_p(1.5); }},
      {"top_p is nan", [=](auto* r) { r->set_top_p(nan); }},
      {"min_p is -0.5", [](auto* r) { r->set_min_p(-0.5); }},
      {"repetition_penalty is 0", [](auto* r) { r->set_repetition_penalty(0); }},
      {"frequency_penalty is inf", [=](auto* r) { r->set_frequency_penalty(infinity); }},
      {"presence_penalty is 3", [](auto* r) { r->set_presence_penalty(3); }},
      {"logit_bias", [=](auto* r) { (*r->mutable_logit_bias())[4] = nan; }},
      {"logit_bias", [=](auto* r) { (*r->mutable_logit_bias())[huge] = 1; }},
      {"logprobs is 21; it must be from 0 to 20", [](auto* r) { r->set_logprobs(21); }},
      {"n is 0; it must be from 1 to 128", [](auto* r) { r->set_n(0); }},
      {"n is 129", [](auto* r) { r->set_n(129); }},
      {"stop[1] has 0 bytes", [](auto* r) { r->add_stop("a"), r->add_stop(""); }},
      {"stop[0] has 257 bytes", [](auto* r) { r->add_stop(std::string(257, 'a')); }},
      {"stop has 33 entries",
       [](auto* r) {
         for (int i = 0; i < 33; ++i) r->add_stop("a");
       }},
      {"stop_token_ids[0] is token 9999", [](auto* r) { r->add_stop_token_ids(9999); }},
  };
  for (const auto& [message, change] : cases) {
    v1::GenerateRequest request = Ids();
    change(&request);
    const absl::Status status = Check(request);
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << message;
    EXPECT_THAT(std::string(status.message()), HasSubstr(message));
  }
  EXPECT_TRUE(Check(Ids()).ok());
}

TEST_F(RequestTranslation, SaysThatTextNeedsATokenizer) {
  model_.tokenizer = nullptr;
  EXPECT_TRUE(Check(Ids()).ok());
  v1::GenerateRequest request;
  request.set_text("a");
  EXPECT_EQ(Check(request).code(), absl::StatusCode::kFailedPrecondition);
  request = Ids();
  request.add_stop("a");
  EXPECT_EQ(Check(request).code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(PlanTokenize({}, model_).status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(TranslateDetokenize({}, model_).status().code(), absl::StatusCode::kFailedPrecondition);
  v1::ScoreRequest score;
  score.mutable_token_ids()->add_ids(5);
  EXPECT_TRUE(TranslateScore(score, model_).ok());
}

TEST_F(RequestTranslation, GivesEverySampleItsOwnSeedAndTheFirstTheRequests) {
  v1::GenerateRequest request = Ids();
  request.set_seed(42);
  request.set_n(128);
  const auto plan = TranslateGenerate(request, model_);
  ASSERT_TRUE(plan.ok()) << plan.status();
  const std::vector<Request> requests = SampleRequests(*plan, &tokenizer_);
  ASSERT_EQ(requests.size(), 128);
  EXPECT_EQ(requests[0].sampling.seed, 42);
  std::set<uint64_t> seeds;
  for (const Request& sample : requests) seeds.insert(sample.sampling.seed);
  EXPECT_EQ(seeds.size(), 128);
  EXPECT_EQ(SampleRequests(*plan, &tokenizer_)[77].sampling.seed, requests[77].sampling.seed);
}

TEST_F(RequestTranslation, DrawsASeedWhereNoneIsSet) {
  EXPECT_NE(TranslateGenerate(Ids(), model_)->request.sampling.seed,
            TranslateGenerate(Ids(), model_)->request.sampling.seed);
}

TEST_F(RequestTranslation, ChecksStopsOfEachSampleOnItsOwn) {
  v1::GenerateRequest request = Ids();
  request.set_n(2);
  request.add_stop("ba");
  const auto plan = TranslateGenerate(request, model_);
  ASSERT_TRUE(plan.ok()) << plan.status();
  const std::vector<Request> requests = SampleRequests(*plan, &tokenizer_);
  EXPECT_FALSE(requests[0].stop(FakeTokenizer::ByteToken('b')).stops);
  EXPECT_FALSE(requests[1].stop(FakeTokenizer::ByteToken('a')).stops);
  EXPECT_TRUE(requests[0].stop(FakeTokenizer::ByteToken('a')).stops);
}

TEST_F(RequestTranslation, CountsTheBytesThatAScoreCovers) {
  v1::ScoreRequest request;
  request.set_text("abcd");  // BOS, "abc", "d"
  const auto scored_bytes = [&] {
    const auto plan = TranslateScore(request, model_);
    return plan->text_bytes - plan->first_bytes;
  };
  EXPECT_EQ(scored_bytes(), 4);
  request.set_add_bos(false);  // "abc" follows nothing
  EXPECT_EQ(scored_bytes(), 1);
  const auto tokens = *tokenizer_.Encode("abcd");
  request.mutable_token_ids()->mutable_ids()->Add(tokens.begin(), tokens.end());
  EXPECT_EQ(scored_bytes(), 1);
}

TEST_F(RequestTranslation, DetokenizesToUtf8Always) {
  v1::DetokenizeRequest request;
  for (const char byte : {'a', '\xF0', '\x9F', 'b'}) {
    request.add_token_ids(FakeTokenizer::ByteToken(byte));
  }
  EXPECT_EQ(*TranslateDetokenize(request, model_),
            "a\xEF\xBF\xBD"
            "b");
  request.add_token_ids(-1);
  EXPECT_EQ(TranslateDetokenize(request, model_).status().code(),
            absl::StatusCode::kInvalidArgument);
}

TEST_F(RequestTranslation, TurnsMarksInATextIntoTokensOfThePrompt) {
  v1::GenerateRequest request;
  request.set_text("abcd \xC3\xA9z");  // BOS, "abc", "d", " ", two bytes, "z"
  for (const int32_t mark : {2, 3, 4, 7}) request.add_cache_boundaries(mark);
  auto plan = TranslateGenerate(request, model_);
  ASSERT_TRUE(plan.ok()) << plan.status();
  // "ab" alone is another token.
  EXPECT_THAT(plan->request.cache_boundaries, ElementsAre(2, 3, 6));
  request.set_add_bos(false);
  EXPECT_THAT(TranslateGenerate(request, model_)->request.cache_boundaries, ElementsAre(1, 2, 5));
  request.set_cache_boundaries(3, 6);
  EXPECT_THAT(TranslateGenerate(request, model_).status().message(),
              HasSubstr("cache_boundaries[3] is 6, which is within a character"));
  request.set_cache_boundaries(3, 9);
  EXPECT_FALSE(TranslateGenerate(request, model_).ok());
  request.set_cache_boundaries(3, 4);
  EXPECT_FALSE(TranslateGenerate(request, model_).ok());
  request.mutable_token_ids()->mutable_ids()->Resize(9, 5);
  request.set_cache_boundaries(3, 9);
  EXPECT_THAT(TranslateGenerate(request, model_)->request.cache_boundaries,
              ElementsAre(2, 3, 4, 9));
}

TEST_F(RequestTranslation, GivesTheFirstOfItsSamplesTheirNumber) {
  v1::GenerateRequest request = Ids();
  request.set_n(3);
  const std::vector<Request> requests =
      SampleRequests(*TranslateGenerate(request, model_), &tokenizer_);
  EXPECT_EQ(requests[0].samples, 3);
  EXPECT_EQ(requests[1].samples, 1);
}

TEST_F(RequestTranslation, GuessesAheadAsTheServerDoesUnlessItIsSaid) {
  model_.max_draft_tokens = 4;
  v1::GenerateRequest request = Ids();
  EXPECT_EQ(TranslateGenerate(request, model_)->request.max_draft_tokens, 4);
  request.set_max_draft_tokens(0);
  EXPECT_EQ(TranslateGenerate(request, model_)->request.max_draft_tokens, 0);
}

}  // namespace
}  // namespace retnet
