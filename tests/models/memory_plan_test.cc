#include "models/memory_plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace retnet {
namespace {

using ::testing::HasSubstr;

constexpr int64_t kMebibyte = 1 << 20;

// 100 MiB in addition to slots of 2 MiB.
constexpr MemoryNeed kNeed = {.weights = 60 * kMebibyte,
                              .step = 10 * kMebibyte,
                              .serving = 30 * kMebibyte,
                              .slot = 2 * kMebibyte};

FreeMemory Free(int64_t bytes) { return {bytes, 512 * kMebibyte, "/sys/fs/cgroup/memory.max"}; }

TEST(PlanSlots, TheShareIsOfWhatTheRestLeaves) {
  ModelOptions options;
  options.state_memory_fraction = 0.25;
  EXPECT_EQ(*PlanSlots(kNeed, Free(180 * kMebibyte), options), 10);
  EXPECT_EQ(*PlanSlots(kNeed, Free(187 * kMebibyte), options), 10);
  EXPECT_EQ(*PlanSlots(kNeed, Free(188 * kMebibyte), options), 11);
  EXPECT_EQ(*PlanSlots(kNeed, Free(int64_t{1} << 40), options), 1024);
}

TEST(PlanSlots, OneByteLessThanTheNeedOfOneSlotIsRefused) {
  ModelOptions options;
  options.state_memory_fraction = 0.25;
  EXPECT_EQ(*PlanSlots(kNeed, Free(108 * kMebibyte), options), 1);
  EXPECT_EQ(PlanSlots(kNeed, Free(108 * kMebibyte - 1), options).status().code(),
            absl::StatusCode::kResourceExhausted);
}

TEST(PlanSlots, AnExplicitNumberOfSlotsCountsWhole) {
  ModelOptions options;
  options.slots = 2000;
  EXPECT_EQ(*PlanSlots(kNeed, Free(4100 * kMebibyte), options), 2000);
  EXPECT_EQ(PlanSlots(kNeed, Free(4100 * kMebibyte - 1), options).status().code(),
            absl::StatusCode::kResourceExhausted);
}

TEST(PlanSlots, ARefusalNamesEveryPartOfTheNeedAndTheLimit) {
  ModelOptions options;
  options.slots = 3;
  options.max_rows = 17;
  const absl::Status refused = PlanSlots(kNeed, Free(20 * kMebibyte), options).status();
  EXPECT_EQ(refused.message(),
            "memory: 106.0 MiB are needed (60.0 MiB for weights, 10.0 MiB for steps of 17 rows, "
            "6.0 MiB for 3 sequences of 2.0 MiB, 30.0 MiB for serving), but 20.0 MiB are free of "
            "the 512.0 MiB that /sys/fs/cgroup/memory.max gives");
  options.slots = 0;
  EXPECT_THAT(std::string(PlanSlots(kNeed, Free(0), options).status().message()),
              HasSubstr("4.0 MiB for one sequence of 2.0 MiB to be in a share of 0.5"));
}

TEST(PlanSlots, WeightsThatAreInMemoryAreNotMentioned) {
  MemoryNeed need = kNeed;
  need.weights = 0;
  const absl::Status refused = PlanSlots(need, Free(20 * kMebibyte), {}).status();
  EXPECT_THAT(std::string(refused.message()), HasSubstr("44.0 MiB are needed (10.0 MiB for steps"));
}

TEST(ServingBytes, GrowsWithTheThreads) {
  EXPECT_EQ(ServingBytes(65) - ServingBytes(1), 64 * kMebibyte);
}

}  // namespace
}  // namespace retnet
