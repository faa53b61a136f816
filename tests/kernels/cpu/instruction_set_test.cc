#include "kernels/cpu/instruction_set.h"

#include <algorithm>

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
