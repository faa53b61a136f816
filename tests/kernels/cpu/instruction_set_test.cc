#include "kernels/cpu/instruction_set.h"

#include <algorithm>
#include <fstream>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace retnet::cpu {
namespace {

using ::testing::HasSubstr;

TEST(InstructionSet, ScalarIsAlwaysThereAndTheBestIsTheLast) {
  const std::vector<InstructionSet> supported = SupportedInstructionSets();
  ASSERT_FALSE(supported.empty());
  EXPECT_EQ(supported.front(), InstructionSet::kScalar);
  EXPECT_EQ(supported.back(), BestInstructionSet());
  EXPECT_TRUE(std::is_sorted(supported.begin(), supported.end()));
}

// Tests run on the sets that are supported: one that is missed would be left out without a word.
TEST(InstructionSet, ThoseOfTheProcessorsFlagsAreSupported) {
  std::set<std::string> flags;
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; flags.empty() && std::getline(file, line);) {
    std::istringstream words(line);
    std::string word;
    words >> word;
    if (word != "flags") continue;
    while (words >> word) flags.insert(word);
  }
  const auto has = [&](const std::vector<std::string>& all) {
    return std::all_of(all.begin(), all.end(),
                       [&](const std::string& flag) { return flags.contains(flag); });
  };
  std::vector<InstructionSet> expected = {InstructionSet::kScalar};
  if (has({"avx2", "fma", "f16c", "bmi1", "bmi2", "abm"})) {
    expected.push_back(InstructionSet::kAvx2);
  }
  if (has({"avx512f", "avx512vl", "avx512dq", "avx512bw", "avx512cd"})) {
    expected.push_back(InstructionSet::kAvx512);
    if (has({"avx512_bf16"})) expected.push_back(InstructionSet::kAvx512Bf16);
  }
  EXPECT_EQ(SupportedInstructionSets(), expected);
}

TEST(InstructionSet, NamesParseBackWhereTheMachineRunsThem) {
  for (InstructionSet set : SupportedInstructionSets()) {
    const absl::StatusOr<InstructionSet> parsed = ParseInstructionSet(Name(set));
    ASSERT_TRUE(parsed.ok()) << parsed.status();
    EXPECT_EQ(*parsed, set);
  }
}

TEST(InstructionSet, AnUnknownNameIsRefusedWithTheKnownOnes) {
  const absl::Status status = ParseInstructionSet("avx9").status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(status.message(), HasSubstr("avx9"));
  EXPECT_THAT(status.message(), HasSubstr("scalar, avx2, avx512, avx512-bf16"));
}

}  // namespace
}  // namespace retnet::cpu
