// Exports and Imports whose clients do not go on: what they hold is bounded, and others get their
// turn.
#include <memory>
#include <string>
#include <utility>

#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/server/slow_client.h"

namespace retnet {
namespace {

using ::testing::HasSubstr;

// Longer than a test takes.
constexpr absl::Duration kForEver = absl::Hours(1);

// Every snapshot is larger than this, so that one runs at a time.
constexpr int64_t kOneTransfer = 1;

class ImportCall {
 public:
  explicit ImportCall(SlowClient* client)
      : writer_(client->sessions().Import(&context_, &session_)) {}
  void Send(const std::string& bytes) {
    v1::ImportSessionRequest request;
    if (!std::exchange(begun_, true)) request.mutable_session();
    for (size_t i = 0; i < bytes.size(); i += kMegabyte) {
      request.set_chunk(bytes.substr(i, kMegabyte));
      if (!writer_->Write(request)) return;
      request.clear_session();
    }
  }
  grpc::Status Finish() {
    writer_->WritesDone();
    return writer_->Finish();
  }
  // The end of a call that has not said that it sends nothing more.
  grpc::Status AwaitEnd() { return writer_->Finish(); }
  void Cancel() { context_.TryCancel(); }

 private:
  grpc::ClientContext context_;
  v1::Session session_;
  bool begun_ = false;
  std::unique_ptr<grpc::ClientWriter<v1::ImportSessionRequest>> writer_;
};

TEST(HeldStreams, OfAnExportThatIsNotReadEndWhenOthersWait) {
  FakeServer server(StreamTestOptions(
      {.transfer_bytes = kOneTransfer, .transfer_idle = absl::Milliseconds(500)}));
  MakeLargeSession(&server);
  SlowClient client(&server);
  ExportCall unread(&client);
  ASSERT_TRUE(unread.Read());  // it has its turn
  ExportCall waits(&client);
  EXPECT_TRUE(waits.ReadAll().ok());  // once the other one has been ended
  EXPECT_GT(waits.bytes().size(), 3 * kMegabyte);
  const grpc::Status status = unread.ReadAll();
  EXPECT_EQ(status.error_code(), grpc::StatusCode::DEADLINE_EXCEEDED);
  EXPECT_THAT(status.error_message(), HasSubstr("has taken nothing for 500ms"));
  ExpectServes(&server);
}

TEST(HeldStreams, OfAnExportThatIsReadSlowlyGoOn) {
  const absl::Duration idle = absl::Seconds(3);
  FakeServer server(StreamTestOptions({.transfer_bytes = kOneTransfer, .transfer_idle = idle}));
  MakeLargeSession(&server);
  SlowClient client(&server);
  ExportCall slow(&client);
  const absl::Time start = absl::Now();
  while (slow.Read()) absl::SleepFor(idle / 3);
  EXPECT_TRUE(slow.ReadAll().ok());
  EXPECT_GT(absl::Now() - start, idle);  // the test shows something
  EXPECT_GT(slow.bytes().size(), 3 * kMegabyte);
}

TEST(HeldStreams, OfAnImportThatDoesNotGoOnEndWhenOthersWait) {
  FakeServer server(StreamTestOptions(
      {.transfer_bytes = kOneTransfer, .transfer_idle = absl::Milliseconds(500)}));
  SlowClient client(&server);
  const std::string snapshot = LargeSnapshot(&server, 900'000);
  ImportCall held(&client);
  held.Send(snapshot.substr(0, kMegabyte));
  ImportCall waits(&client);
  waits.Send(snapshot);
  const grpc::Status whole = waits.Finish();
  EXPECT_TRUE(whole.ok()) << whole.error_message();
  const grpc::Status status = held.AwaitEnd();
  EXPECT_EQ(status.error_code(), grpc::StatusCode::DEADLINE_EXCEEDED);
  EXPECT_THAT(status.error_message(), HasSubstr("has sent nothing for 500ms"));
  ExpectServes(&server);
}

TEST(HeldStreams, AreCancelledWhileTheyWait) {
  FakeServer server(StreamTestOptions({.transfer_bytes = kOneTransfer, .transfer_idle = kForEver}));
  const std::string snapshot = MakeLargeSession(&server);
  SlowClient client(&server);
  ExportCall holds(&client);
  ASSERT_TRUE(holds.Read());
  ExportCall waiting_export(&client);
  ImportCall waiting_import(&client);
  waiting_import.Send(snapshot.substr(0, 1));
  ExpectServes(&server);
  waiting_export.Cancel();
  waiting_import.Cancel();
  EXPECT_EQ(waiting_export.ReadAll().error_code(), grpc::StatusCode::CANCELLED);
  EXPECT_EQ(waiting_import.AwaitEnd().error_code(), grpc::StatusCode::CANCELLED);
  EXPECT_TRUE(holds.ReadAll().ok());
  ExportCall next(&client);
  EXPECT_TRUE(next.ReadAll().ok());
  // No call is left that a drain would wait for.
  EXPECT_TRUE(server.server().Drain(absl::Now() + absl::Seconds(60)));
}

TEST(HeldStreams, GiveTheirTurnBackWhenTheClientGoes) {
  FakeServer server(StreamTestOptions({.transfer_bytes = kOneTransfer, .transfer_idle = kForEver}));
  const std::string snapshot = MakeLargeSession(&server);
  SlowClient client(&server);
  {
    ExportCall holds(&client);
    ASSERT_TRUE(holds.Read());
    holds.Cancel();
    EXPECT_FALSE(holds.ReadAll().ok());
  }
  ImportCall holds(&client);
  holds.Send(snapshot.substr(0, kMegabyte));
  holds.Cancel();
  EXPECT_EQ(holds.AwaitEnd().error_code(), grpc::StatusCode::CANCELLED);
  ExportCall next(&client);
  EXPECT_TRUE(next.ReadAll().ok());
}

}  // namespace
}  // namespace retnet
