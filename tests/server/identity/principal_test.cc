#include "server/identity/principal.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace retnet {
namespace {

using ::testing::HasSubstr;

const absl::Time kStart = absl::UnixEpoch();

bool IsRefused(const absl::Status& status) { return absl::IsResourceExhausted(status); }

TEST(Principal, MayHaveSoManyRequestsAtOnce) {
  PrincipalLimits limits;
  limits.requests = 4;
  Principal principal("alice", limits);
  EXPECT_TRUE(principal.Begin(3, 10).ok());
  EXPECT_TRUE(principal.Check().ok());
  const absl::Status two_more = principal.Begin(2, 10);
  EXPECT_TRUE(IsRefused(two_more));
  EXPECT_THAT(two_more.message(), HasSubstr("you may have 4 at once"));
  EXPECT_TRUE(principal.Begin(1, 10).ok());
  EXPECT_TRUE(IsRefused(principal.Check()));
  EXPECT_TRUE(IsRefused(principal.Begin(1, 10)));
  principal.End(2);
  EXPECT_TRUE(principal.Begin(2, 10).ok());
  EXPECT_TRUE(IsRefused(principal.Begin(1, 10)));
}

TEST(Principal, MaySpendSoManyTokensAMinute) {
  PrincipalLimits limits;
  limits.tokens_per_minute = 600;  // 10 a second
  Principal principal("alice", limits);
  EXPECT_TRUE(principal.Begin(1, 599, kStart).ok());
  EXPECT_TRUE(principal.Check(kStart).ok());
  principal.Spend(1, kStart);
  const absl::Status empty = principal.Begin(1, 1, kStart);
  EXPECT_TRUE(IsRefused(empty));
  EXPECT_THAT(empty.message(), HasSubstr("your 600 tokens a minute; try again in 0.1"));
  // An answer goes on, and is paid back afterwards.
  principal.Spend(100, kStart);
  EXPECT_THAT(principal.Check(kStart).message(), HasSubstr("try again in 10.1"));
  EXPECT_TRUE(IsRefused(principal.Check(kStart + absl::Seconds(9.9))));
  EXPECT_TRUE(principal.Check(kStart + absl::Seconds(10.2)).ok());
  // Of a long time without requests, one minute counts.
  const absl::Time later = kStart + absl::Hours(1);
  EXPECT_TRUE(principal.Begin(1, 600, later).ok());
  EXPECT_TRUE(IsRefused(principal.Check(later)));
  principal.Spend(-600, later);  // the request was refused elsewhere
  EXPECT_TRUE(principal.Check(later).ok());
}

TEST(Principal, KeepsWhatItHasUsedWhenItsLimitsChange) {
  PrincipalLimits limits;
  limits.requests = 2;
  limits.tokens_per_minute = 600;
  Principal principal("alice", limits);
  EXPECT_TRUE(principal.Begin(2, 500, kStart).ok());
  limits.requests = 3;
  limits.tokens_per_minute = 500;
  limits.weight = 5.0;
  principal.SetLimits(limits);
  EXPECT_EQ(principal.weight(), 5.0);
  EXPECT_THAT(principal.Begin(1, 1, kStart).message(), HasSubstr("500 tokens a minute"));
  limits.tokens_per_minute = 501;
  principal.SetLimits(limits);
  EXPECT_TRUE(principal.Begin(1, 1, kStart).ok());
  EXPECT_THAT(principal.Begin(1, 1, kStart).message(), HasSubstr("3 at once"));
}

TEST(Principal, FitsThePriorityOfItsRequests) {
  PrincipalLimits limits;
  int32_t priority = 1000;
  EXPECT_TRUE(Principal("free").FitPriority(&priority).ok());
  EXPECT_EQ(priority, 1000);
  for (const int32_t most : {-3, 0, 3}) {
    limits.max_priority = most;
    const Principal principal("bound", limits);
    for (const int32_t fits : {most - 1, most}) {
      priority = fits;
      EXPECT_TRUE(principal.FitPriority(&priority).ok());
      EXPECT_EQ(priority, fits);
    }
    priority = most + 1 == 0 ? 1 : most + 1;
    const absl::Status above = principal.FitPriority(&priority);
    EXPECT_TRUE(absl::IsInvalidArgument(above));
    EXPECT_THAT(above.message(), HasSubstr(" may be at most "));
    priority = 0;  // not set
    EXPECT_TRUE(principal.FitPriority(&priority).ok());
    EXPECT_EQ(priority, std::min(most, 0));
  }
}

}  // namespace
}  // namespace retnet
