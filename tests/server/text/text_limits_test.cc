// The budget of all texts in progress.
#include "server/text/text_limits.h"

#include <memory>
#include <utility>

#include "gtest/gtest.h"

namespace retnet {
namespace {

TEST(TextBudget, IsGivenOutToItsLastByteAndComesBack) {
  TextBudget budget(100);
  {
    absl::StatusOr<TextBudget::Hold> first = budget.Take(60);
    ASSERT_TRUE(first.ok());
    EXPECT_TRUE(budget.Take(39).ok());
    EXPECT_TRUE(budget.Take(40).ok());
    const absl::Status refused = budget.Take(41).status();
    EXPECT_EQ(refused.code(), absl::StatusCode::kResourceExhausted);
    EXPECT_EQ(budget.used(), 60);
    first->Keep(10);
    EXPECT_EQ(budget.used(), 10);
    first->Add(*budget.Take(20));
    EXPECT_EQ(budget.used(), 30);
    TextBudget::Hold moved = *std::move(first);
    EXPECT_EQ(moved.bytes(), 30);
    EXPECT_EQ(budget.used(), 30);
  }
  EXPECT_EQ(budget.used(), 0);
}

TEST(TextBudget, MayEndBeforeItsHolds) {
  auto budget = std::make_unique<TextBudget>(100);
  TextBudget::Hold held = *budget->Take(60);
  budget.reset();
  held.Keep(10);
  EXPECT_EQ(held.bytes(), 10);
}

TEST(TextBudget, LetsALargerRequestRunAlone) {
  TextBudget budget(100);
  absl::StatusOr<TextBudget::Hold> large = budget.Take(1000);
  ASSERT_TRUE(large.ok());
  EXPECT_FALSE(budget.Take(1).ok());
  large->Keep(0);
  absl::StatusOr<TextBudget::Hold> small = budget.Take(1);
  EXPECT_FALSE(budget.Take(1000).ok());
}

}  // namespace
}  // namespace retnet
