#include "client/bench/workload.h"

#include <map>
#include <set>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace retnet {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

v1::GetModelResponse Model() {
  v1::GetModelResponse model;
  model.set_vocab_size(20);
  model.set_max_context_length(100);
  model.set_bos_token_id(1);
  model.add_eos_token_ids(2);
  return model;
}

WorkloadOptions Options() {
  WorkloadOptions options;
  options.input_lengths = Lengths::Uniform(1, 40);
  options.output_lengths = Lengths::Uniform(1, 60);
  return options;
}

TEST(Workload, AsksTheSameForTheSameSeedAndNumber) {
  const Workload workload(Options(), Model(), {});
  const Workload again(Options(), Model(), {});
  WorkloadOptions other = Options();
  other.seed = 1;
  const Workload different(other, Model(), {});
  const auto bytes = [](const Workload& load, int64_t index) {
    return load.Request(index).request.SerializeAsString();
  };
  for (const int64_t index : {int64_t{0}, int64_t{1}, int64_t{1} << 40}) {
    EXPECT_EQ(bytes(workload, index), bytes(again, index));
    EXPECT_NE(bytes(workload, index), bytes(different, index));
    EXPECT_NE(bytes(workload, index), bytes(workload, index + 1));
  }
}

TEST(Workload, DrawsPromptsFromAllTokensButThoseThatBeginAndEndTexts) {
  const Workload workload(Options(), Model(), {});
  std::set<int32_t> seen;
  for (int i = 0; i < 500; ++i) {
    const v1::GenerateRequest request = workload.Request(i).request;
    const auto& ids = request.token_ids().ids();
    ASSERT_GE(ids.size(), 1);
    ASSERT_LE(ids.size(), 40);
    ASSERT_GE(request.max_tokens(), 1);
    ASSERT_LE(request.max_tokens(), 60);
    seen.insert(ids.begin(), ids.end());
  }
  EXPECT_EQ(seen.size(), 18);
  EXPECT_FALSE(seen.contains(1));
  EXPECT_FALSE(seen.contains(2));
}

TEST(Workload, KeepsLengthsWithoutABoundWithinTheContext) {
  WorkloadOptions options = Options();
  options.input_lengths = Lengths::Lognormal(90, 1);
  options.output_lengths = Lengths::Lognormal(90, 1);
  const Workload workload(options, Model(), {});
  EXPECT_TRUE(workload.Fits().ok());
  for (int i = 0; i < 500; ++i) {
    const v1::GenerateRequest request = workload.Request(i).request;
    ASSERT_LE(request.token_ids().ids_size() + request.max_tokens(), 100);
  }
}

TEST(Workload, SaysWhatCannotFitTheContext) {
  WorkloadOptions options = Options();
  options.input_lengths = Lengths(41);
  EXPECT_THAT(std::string(Workload(options, Model(), {}).Fits().message()),
              HasSubstr("41 tokens of prompt and 60 of output are more than the 100"));
  DatasetLine line;
  line.input_length = 90;
  line.output_length = 11;
  EXPECT_THAT(std::string(Workload(Options(), Model(), {line}).Fits().message()),
              HasSubstr("entry 1: 90 tokens of prompt and 11 of output"));
}

TEST(Workload, TakesALinesPromptAndLengthsInTurn) {
  DatasetLine text;
  text.text = "a wolf";
  text.output_length = 3;
  DatasetLine ids;
  ids.token_ids = {5, 6};
  DatasetLine length;
  length.input_length = 7;
  WorkloadOptions options = Options();
  options.output_lengths = Lengths(9);
  const Workload workload(options, Model(), {text, ids, length});
  for (const int64_t round : {0, 3, 300}) {
    EXPECT_EQ(workload.Request(round).request.text(), "a wolf");
    EXPECT_EQ(workload.Request(round).request.max_tokens(), 3);
    EXPECT_THAT(workload.Request(round + 1).request.token_ids().ids(), ElementsAre(5, 6));
    EXPECT_EQ(workload.Request(round + 1).request.max_tokens(), 9);
    EXPECT_EQ(workload.Request(round + 2).request.token_ids().ids_size(), 7);
  }
}

TEST(Workload, GivesEachConductItsFractionAndATokenToLeaveAt) {
  WorkloadOptions options = Options();
  options.cancel_fraction = 0.2;
  options.slow_reader_fraction = 0.1;
  options.vanish_fraction = 0.3;
  const Workload workload(options, Model(), {});
  std::map<Conduct, int> counts;
  bool at_once = false;
  for (int i = 0; i < 10000; ++i) {
    const PlannedRequest planned = workload.Request(i);
    ++counts[planned.conduct];
    ASSERT_GE(planned.leaves_after, 0);
    ASSERT_LT(planned.leaves_after, planned.request.max_tokens());
    at_once |= planned.leaves_after == 0;
  }
  EXPECT_TRUE(at_once);
  EXPECT_NEAR(counts[Conduct::kCancels], 2000, 200);  // 5 deviations
  EXPECT_NEAR(counts[Conduct::kDawdles], 1000, 150);
  EXPECT_NEAR(counts[Conduct::kVanishes], 3000, 230);
  EXPECT_NEAR(counts[Conduct::kReads], 4000, 245);
}

}  // namespace
}  // namespace retnet
