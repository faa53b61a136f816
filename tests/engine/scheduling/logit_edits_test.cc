#include "engine/scheduling/logit_edits.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <vector>

#include "tests/engine/oracle.h"

namespace retnet {
namespace {

bool IsNeutral(const LogitEdit& edit) { return edit.repetition == 1.0f && edit.add == 0.0f; }

// Without the edits that change nothing, by token.
std::vector<LogitEdit> Normal(std::span<const LogitEdit> edits) {
  std::vector<LogitEdit> normal(edits.begin(), edits.end());
  std::erase_if(normal, IsNeutral);
  std::sort(normal.begin(), normal.end(),
            [](const LogitEdit& a, const LogitEdit& b) { return a.token < b.token; });
  return normal;
}

TEST(LogitEdits, EqualTheDefinitionAfterEveryToken) {
  const FakeModelOptions options;
  std::mt19937 random(7);
  for (int round = 0; round < 200; ++round) {
    Request request = RandomRequest(options, /*context_length=*/40, random);
    if (request.kind == RequestKind::kScore) continue;
    std::span<const TokenId> banned;
    if (request.min_tokens > 0) banned = request.stop_token_ids;
    LogitEdits edits(request.sampling, request.prompt, banned);
    std::vector<TokenId> output;
    while (true) {
      const std::vector<LogitEdit> actual = Normal(edits.edits());
      const std::vector<LogitEdit> expected = ExpectedEdits(request, output);
      ASSERT_EQ(actual.size(), expected.size());
      for (size_t i = 0; i < actual.size(); ++i) {
        ASSERT_EQ(actual[i].token, expected[i].token);
        ASSERT_EQ(actual[i].repetition, expected[i].repetition);
        ASSERT_EQ(actual[i].add, expected[i].add);
      }
      if (output.size() == 40) break;
      output.push_back(static_cast<TokenId>(random() % 12));
      edits.Count(output.back());
      if (output.size() == request.min_tokens) edits.LiftBan();
    }
  }
}

TEST(LogitEdits, AreNoneWithoutPenaltiesBiasesAndBans) {
  const std::vector<TokenId> prompt = {1, 2, 3};
  LogitEdits edits(SamplingParams(), prompt, {});
  edits.Count(2);
  EXPECT_TRUE(edits.edits().empty());
}

}  // namespace
}  // namespace retnet
