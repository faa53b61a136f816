#include "engine/scheduling/absent_tenants.h"

#include <gtest/gtest.h>

#include <string>

namespace retnet {
namespace {

constexpr StepCost::Times kTimes = {.step = 1e-3, .decoding_row = 1e-4, .prompt_row = 1e-4};

Tenant Make(const std::string& principal, double weight = 1.0) {
  return {.principal = principal, .connection = "1", .weight = weight};
}

TEST(AbsentTenants, AreExpectedForAWhile) {
  AbsentTenants absent;
  Tenants present;
  EXPECT_EQ(absent.Strictest(&present, kTimes, 0.0).prompt_rows, 0);
  absent.Add(Make("a"), 10, 5.0);
  EXPECT_EQ(absent.Strictest(&present, kTimes, 5.0).prompt_rows, 10);
  const double last = 5.0 + AbsentTenants::kExpected;
  EXPECT_EQ(absent.Strictest(&present, kTimes, last).prompt_rows, 10);
  EXPECT_EQ(absent.Strictest(&present, kTimes, last + 0.01).prompt_rows, 0);
}

TEST(AbsentTenants, AreNotExpectedWhenTheyAreBack) {
  AbsentTenants absent;
  Tenants present;
  absent.Add(Make("a"), 10, 0.0);
  Tenants::Entry* entry = present.Join(Make("a"));
  EXPECT_EQ(absent.Strictest(&present, kTimes, 0.0).prompt_rows, 0);
  present.Leave(entry);
  EXPECT_EQ(absent.Strictest(&present, kTimes, 0.0).prompt_rows, 10);
}

TEST(AbsentTenants, CountWithTheirLastPrompt) {
  AbsentTenants absent;
  Tenants present;
  absent.Add(Make("a"), 10, 0.0);
  absent.Add(Make("a"), 300, 0.0);
  EXPECT_EQ(absent.Strictest(&present, kTimes, 0.0).prompt_rows, 300);
}

TEST(AbsentTenants, TheStrictestIsTheOneThatBearsLeastForItsWeight) {
  AbsentTenants absent;
  Tenants present;
  absent.Add(Make("a"), 30, 0.0);
  absent.Add(Make("b"), 20, 0.0);
  absent.Add(Make("c"), 40, 0.0);
  EXPECT_EQ(absent.Strictest(&present, kTimes, 0.0).prompt_rows, 20);
  absent.Add(Make("c", 2.0), 40, 0.0);
  const AbsentTenants::Expected strictest = absent.Strictest(&present, kTimes, 0.0);
  EXPECT_EQ(strictest.prompt_rows, 40) << "5 ms for a weight of 2";
  EXPECT_EQ(strictest.weight, 2.0);
}

TEST(AbsentTenants, OfTooManyTheLastOnesAreExpected) {
  AbsentTenants absent;
  Tenants present;
  absent.Add(Make("first"), 1, 0.0);
  for (size_t i = 1; i < AbsentTenants::kMost; ++i) absent.Add(Make(std::to_string(i)), 9, 0.0);
  EXPECT_EQ(absent.Strictest(&present, kTimes, 0.0).prompt_rows, 1);
  absent.Add(Make("last"), 9, 0.0);
  EXPECT_EQ(absent.Strictest(&present, kTimes, 0.0).prompt_rows, 9);
}

}  // namespace
}  // namespace retnet
