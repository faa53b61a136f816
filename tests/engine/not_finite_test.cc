// A row whose logits are not finite ends its request, and nobody else's.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <numeric>
#include <utility>
#include <vector>

#include "tests/engine/oracle.h"
#include "tests/engine/sessions/sessions_fixture.h"

namespace retnet {
namespace {

using ::testing::ElementsAre;

constexpr TokenId kSick = 50;

// Greedy answers count up by one. Behind token kSick there are none while `sick_` is true.
class NotFiniteTest : public SessionsTest {
 protected:
  void Begin(int32_t steps_in_flight) {
    FakeModelOptions options{.slots = 4, .max_rows = 16, .chunk = 4};
    options.next = [](int32_t, TokenId last) { return (last + 1) % 90; };
    options.not_finite = [sick = sick_](int32_t, TokenId last) { return *sick && last == kSick; };
    options.steps_in_flight = steps_in_flight;
    Start(options, {}, /*with_store=*/false);
  }

  Request Greedy(std::vector<TokenId> prompt, int32_t max_tokens, const SessionKey& key = {}) {
    Request request = Generation(key, std::move(prompt), max_tokens);
    request.sampling.temperature = 0.0f;
    request.logprobs = true;
    return request;
  }
  static void ExpectInternal(const RecordingSink& sink) {
    EXPECT_TRUE(absl::IsInternal(sink.completion().status)) << sink.completion().status;
    EXPECT_EQ(sink.completion().reason, FinishReason::kError);
    EXPECT_THAT(std::string(sink.completion().status.message()),
                testing::HasSubstr("logits are not finite"));
  }
  void AwaitIdle() {
    TurnUntil([&] { return executor_->idle(); });
    EXPECT_THAT(control_->violations(), testing::IsEmpty());
  }

  const std::shared_ptr<bool> sick_ = std::make_shared<bool>(true);
};

// At every offset from a fold, with guesses and without, with a step ahead and without.
TEST_F(NotFiniteTest, EndsItsRequestAndOthersGoOn) {
  for (const int32_t steps_in_flight : {1, 2}) {
    for (const int32_t guesses : {0, 4}) {
      for (int32_t before = 0; before < 9; ++before) {
        SCOPED_TRACE(testing::Message() << steps_in_flight << " steps, " << guesses << " guesses, "
                                        << before << " tokens before");
        Begin(steps_in_flight);
        // What follows 45, 46, 47 is guessed from the first time.
        std::vector<TokenId> prompt = {45, 46, 47, 48, 49, 50, 51};
        prompt.insert(prompt.end(), before, 7);
        prompt.insert(prompt.end(), {45, 46, 47});
        Request request = Greedy(prompt, 20);
        request.max_draft_tokens = guesses;
        const auto sick = Submit(std::move(request));
        Request honest = Greedy({1, 2}, 20);
        const auto expected = ExpectedOf(options_, honest, kContext);
        const auto other = Submit(std::move(honest));
        AwaitIdle();
        ExpectInternal(*sick);
        EXPECT_THAT(sick->tokens(), ElementsAre(48, 49, 50));
        EXPECT_TRUE(other->completion().status.ok()) << other->completion().status;
        EXPECT_TRUE(SameResults(other->results(), expected.results));
        EXPECT_EQ(executor_->stats().free_slots, 4);
      }
    }
  }
}

TEST_F(NotFiniteTest, AScoreEndsWithWhatCameBefore) {
  Begin(/*steps_in_flight=*/1);
  Request request = Greedy({47, 48, 49, 50, 51, 52}, 1);
  request.kind = RequestKind::kScore;
  const auto sink = Submit(std::move(request));
  AwaitIdle();
  ExpectInternal(*sink);
  EXPECT_THAT(sink->tokens(), ElementsAre(48, 49, 50));
}

TEST_F(NotFiniteTest, NothingOfItIsCached) {
  Begin(/*steps_in_flight=*/1);
  Request request = Greedy(std::vector<TokenId>(8, kSick), 1);
  const auto sink = Submit(request);
  AwaitIdle();
  ExpectInternal(*sink);
  EXPECT_EQ(executor_->stats().cached_prefixes, 0);
  *sick_ = false;
  const auto again = Submit(request);
  AwaitIdle();
  EXPECT_TRUE(again->completion().status.ok());
  EXPECT_GT(executor_->stats().cached_prefixes, 0) << "so that the test above says something";
}

TEST_F(NotFiniteTest, SamplesOfOnePromptAllEnd) {
  Begin(/*steps_in_flight=*/1);
  Request request = Greedy({1, 2, kSick}, 5);
  request.samples = 3;
  std::vector<std::shared_ptr<RecordingSink>> sinks = {Submit(request)};
  request.samples = 1;
  request.sample_of = next_id_ - 1;
  for (int i = 0; i < 2; ++i) sinks.push_back(Submit(request));
  AwaitIdle();
  for (const auto& sink : sinks) ExpectInternal(*sink);
}

// It keeps the tokens, not the state: that is computed again from them.
TEST_F(NotFiniteTest, ASessionGoesOnFromItsTokens) {
  for (const int32_t steps_in_flight : {1, 2}) {
    Begin(steps_in_flight);
    *sick_ = true;
    const SessionKey key = Key(steps_in_flight);
    ASSERT_TRUE(Create(key).ok());
    std::vector<TokenId> tokens(49);
    std::iota(tokens.begin(), tokens.end(), 0);
    const auto sick = Submit(Greedy(tokens, 9, key));
    AwaitIdle();
    ExpectInternal(*sick);
    EXPECT_THAT(sick->tokens(), ElementsAre(49, 50));
    tokens.insert(tokens.end(), {49, 50});
    EXPECT_EQ(Get(key)->tokens, 51);
    EXPECT_EQ(Get(key)->state_tokens, 0);
    EXPECT_EQ(sick->completion().session_tokens, 51);
    *sick_ = false;
    executor_->Close();  // forgets the prefixes that were cached before the fault
    const auto well = Submit(Greedy({}, 3, key));
    AwaitIdle();
    EXPECT_TRUE(well->completion().status.ok()) << well->completion().status;
    EXPECT_EQ(well->completion().usage.cached_tokens, 0);
    EXPECT_THAT(well->tokens(), ElementsAre(51, 52, 53));
  }
}

}  // namespace
}  // namespace retnet
