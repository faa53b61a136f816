#include "server/calls/unread_output.h"

#include <memory>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace retnet {
namespace {

using ::testing::HasSubstr;

// A call that says whether it was ended.
class HoldingCall : public OpenCall {
 public:
  HoldingCall(InFlightCalls* calls, UnreadOutput* output) : OpenCall(calls), share(output) {}
  void EndUnread(const absl::Status& status) override {
    const MutexLock lock(&mu_);
    status_ = status;
    ended_.NotifyAll();
  }
  absl::Status AwaitEnd() {
    MutexLock lock(&mu_);
    while (status_.ok()) ended_.Wait(&mu_);
    return status_;
  }
  bool ended() {
    const MutexLock lock(&mu_);
    return !status_.ok();
  }
  void Hold(int64_t bytes) { share.Set(this, bytes); }

  UnreadOutput::Share share;

 private:
  CondVar ended_;
  absl::Status status_ ABSL_GUARDED_BY(mu_);
};

class UnreadOutputTest : public ::testing::Test {
 protected:
  std::shared_ptr<HoldingCall> NewCall() {
    return std::make_shared<HoldingCall>(&calls_, &output_);
  }

  InFlightCalls calls_;
  UnreadOutput output_{100};
};

TEST_F(UnreadOutputTest, OfOneCallMayTakeHalf) {
  const auto call = NewCall();
  for (const int64_t bytes : {49, 50, 0, 50}) {
    call->Hold(bytes);
    EXPECT_EQ(output_.used(), bytes);
  }
  EXPECT_FALSE(call->ended());
  call->Hold(51);
  EXPECT_EQ(output_.used(), 0);  // it does not count any more
  const absl::Status status = call->AwaitEnd();
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(status.message()), HasSubstr("50 bytes"));
}

TEST_F(UnreadOutputTest, OfAllCallsIsBoundedAtTheCostOfTheGreatest) {
  const auto small = NewCall();
  const auto great = NewCall();
  const auto third = NewCall();
  great->Hold(45);
  small->Hold(30);
  third->Hold(24);
  EXPECT_EQ(output_.used(), 99);
  third->Hold(25);
  EXPECT_EQ(output_.used(), 100);
  EXPECT_FALSE(great->ended());
  third->Hold(26);
  EXPECT_EQ(output_.used(), 56);
  const absl::Status status = great->AwaitEnd();
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(status.message()), HasSubstr("45 bytes"));
  EXPECT_FALSE(small->ended());
  EXPECT_FALSE(third->ended());
}

TEST_F(UnreadOutputTest, OfACallThatIsGoneCountsNoMore) {
  NewCall()->Hold(40);
  EXPECT_EQ(output_.used(), 0);
  const auto call = NewCall();
  call->Hold(40);
  call->share.Close();
  call->Hold(40);
  EXPECT_EQ(output_.used(), 0);
}

}  // namespace
}  // namespace retnet
