#include "tests/engine/fake_model.h"

#include <gtest/gtest.h>

#include <vector>

namespace retnet {
namespace {

// The fake is only worth as much as its answers depend on: every token, its place, and every
// parameter.
TEST(FakeModel, AnswersDependOnTheWholeHistoryAndOnEveryParameter) {
  const FakeModelOptions options;
  const std::vector<TokenId> history = {1, 2, 3, 4};
  SampleRequest query;
  query.logprob = true;
  const SampleResult result = FakeResult(options, history, query);
  for (size_t i = 0; i < history.size(); ++i) {
    std::vector<TokenId> other = history;
    other[i] += 1;
    EXPECT_NE(FakeResult(options, other, query).logprob, result.logprob);
  }
  EXPECT_NE(FakeResult(options, {{2, 1, 3, 4}}, query).logprob, result.logprob);
  const std::vector<void (*)(Sampling&)> changes = {
      [](Sampling& s) { ++s.seed; },       [](Sampling& s) { ++s.draw; },
      [](Sampling& s) { ++s.top_k; },      [](Sampling& s) { s.top_p = 0.5f; },
      [](Sampling& s) { s.min_p = 0.5f; }, [](Sampling& s) { s.temperature = 0.9f; },
  };
  for (auto change : changes) {
    // One token may agree by chance; ten do not.
    int equal = 0;
    for (TokenId last = 0; last < 10; ++last) {
      SampleRequest changed = query;
      change(changed.sampling);
      const std::vector<TokenId> longer = {1, 2, last};
      equal +=
          FakeResult(options, longer, query).token == FakeResult(options, longer, changed).token;
    }
    EXPECT_LT(equal, 10);
  }
}

// Breaking a rule of the seam is an error of the call.
TEST(FakeModel, RefusesWhatTheSeamForbids) {
  FakeModel model((FakeModelOptions()));
  StepResult result;
  const std::vector<TokenId> tokens = {1, 2};
  Segment good{.slot = 0, .position = 0, .tokens = tokens, .outputs = {}};
  const auto refuses = [&](std::vector<Segment> segments) {
    return absl::IsInvalidArgument(model.Launch(segments));
  };
  EXPECT_TRUE(refuses({}));
  EXPECT_TRUE(refuses({good, good})) << "a slot twice";
  Segment bad = good;
  bad.position = 1;
  EXPECT_TRUE(refuses({bad}));
  bad = good;
  bad.slot = 4;
  EXPECT_TRUE(refuses({bad}));
  bad = good;
  bad.row_class = RowClass::kSampled;
  bad.slot = 1;
  EXPECT_TRUE(refuses({good, bad})) << "sampled tokens behind given ones";
  const std::vector<TokenId> unknown = {97};
  bad = good;
  bad.tokens = unknown;
  EXPECT_TRUE(refuses({bad}));
  const std::vector<TokenId> many(17, 1);
  bad.tokens = many;
  EXPECT_TRUE(refuses({bad}));
  ASSERT_TRUE(model.Launch(std::vector<Segment>{good}).ok());
  Segment more = good;
  more.position = 2;
  EXPECT_TRUE(refuses({more})) << "a second one in flight";
  ASSERT_TRUE(model.Wait(&result).ok());
  EXPECT_TRUE(refuses({good})) << "not clear";
  ASSERT_TRUE(model.Clear(0).ok());
  EXPECT_TRUE(model.Launch(std::vector<Segment>{good}).ok());
}

}  // namespace
}  // namespace retnet
