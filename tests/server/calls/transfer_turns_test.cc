#include "server/calls/transfer_turns.h"

#include <optional>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kernels/mutex.h"

namespace retnet {
namespace {

using ::testing::ElementsAre;
using ::testing::UnorderedElementsAre;

Tenant Client(const std::string& principal, const std::string& connection = "1") {
  return {.principal = principal, .connection = connection};
}

// Calls by name, and the shares of those whose turn has come.
class TransferTurnsTest : public ::testing::Test {
 protected:
  TransferTurns::Ticket Wait(const std::string& name, const Tenant& client, int64_t bytes) {
    return turns_->Wait(client, bytes, [this, name](TransferTurns::Share share) {
      const MutexLock lock(&mu_);
      begun_.push_back(name);
      shares_.push_back(std::move(share));
      changed_.NotifyAll();
    });
  }
  std::vector<std::string> AwaitBegun(size_t count) {
    MutexLock lock(&mu_);
    while (begun_.size() < count) changed_.Wait(&mu_);
    return begun_;
  }
  // Gives back what the call that began as this number holds, but `bytes`.
  void Shrink(size_t number, int64_t bytes) {
    TransferTurns::Share share;
    {
      const MutexLock lock(&mu_);
      share = std::move(shares_[number]);
    }
    share.Shrink(bytes);
    if (bytes == 0) return;
    const MutexLock lock(&mu_);
    shares_[number] = std::move(share);
  }

  void TearDown() override {
    std::vector<TransferTurns::Share> shares;
    {
      const MutexLock lock(&mu_);
      shares.swap(shares_);
    }
    shares.clear();
    EXPECT_EQ(turns_->used(), 0);
    turns_.reset();
  }

  Mutex mu_;
  CondVar changed_;
  std::vector<std::string> begun_ ABSL_GUARDED_BY(mu_);
  std::vector<TransferTurns::Share> shares_ ABSL_GUARDED_BY(mu_);
  std::optional<TransferTurns> turns_{100};
};

TEST_F(TransferTurnsTest, FitUpToTheBound) {
  for (const int64_t bytes : {39, 40, 41}) {
    Wait("first", Client("a"), 60);
    Wait("second", Client("a"), bytes);
    EXPECT_EQ(turns_->used(), bytes <= 40 ? 60 + bytes : 60) << bytes;
    AwaitBegun(bytes <= 40 ? 2 : 1);
    Shrink(0, 0);
    EXPECT_THAT(AwaitBegun(2), ElementsAre("first", "second"));
    Shrink(1, 0);
    const MutexLock lock(&mu_);
    begun_.clear();
    shares_.clear();
  }
}

TEST_F(TransferTurnsTest, OfOneThatIsTooLargeComeWhenNothingElseRuns) {
  Wait("small", Client("a"), 1);
  Wait("large", Client("a"), 1000);
  Wait("last", Client("a"), 1);
  EXPECT_THAT(AwaitBegun(1), ElementsAre("small"));
  Shrink(0, 0);
  EXPECT_THAT(AwaitBegun(2), ElementsAre("small", "large"));
  EXPECT_EQ(turns_->used(), 1000);
  Shrink(1, 99);
  EXPECT_THAT(AwaitBegun(3), ElementsAre("small", "large", "last"));
}

TEST_F(TransferTurnsTest, GoToTheClientThatHoldsLeast) {
  Wait("a1", Client("a"), 50);
  Wait("a2", Client("a", "2"), 50);
  AwaitBegun(2);
  Wait("a3", Client("a"), 50);
  Wait("a4", Client("a", "3"), 50);  // holds nothing, but its principal does
  Wait("b1", Client("b"), 50);
  EXPECT_EQ(turns_->used(), 100);
  Shrink(0, 0);
  EXPECT_THAT(AwaitBegun(3), ElementsAre("a1", "a2", "b1"));
  Shrink(2, 0);
  EXPECT_EQ(AwaitBegun(4).back(), "a3");  // neither a3's connection nor a4's holds anything now
  Shrink(3, 0);
  EXPECT_EQ(AwaitBegun(5).back(), "a4");
}

TEST_F(TransferTurnsTest, AreNotKeptForWhoWithdraws) {
  Wait("first", Client("a"), 100);
  AwaitBegun(1);
  const TransferTurns::Ticket large = Wait("large", Client("b"), 100);
  Wait("small", Client("a"), 10);
  Shrink(0, 90);
  EXPECT_EQ(turns_->used(), 90);  // large comes first
  turns_->Withdraw(Client("b"), large);
  EXPECT_THAT(AwaitBegun(2), UnorderedElementsAre("first", "small"));
}

}  // namespace
}  // namespace retnet
