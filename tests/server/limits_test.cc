// What the server refuses before it looks at a request: compressed messages and much metadata.
#include <cstdint>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/server/all_calls.h"
#include "tests/server/fake_server.h"

namespace retnet {
namespace {

using ::testing::HasSubstr;

constexpr int64_t kMetadataBound = 64 << 10;

// The call with so many bytes of metadata beside those that gRPC adds.
grpc::Status RunWithMetadata(const Call& call, int64_t bytes) {
  grpc::ClientContext context;
  context.AddMetadata("x", std::string(bytes - 1 - 32, 'a'));
  return call.run(&context);
}

bool RefusesMetadata(const grpc::Status& status) {
  return status.error_code() == grpc::StatusCode::RESOURCE_EXHAUSTED &&
         absl::StrContains(status.error_message(), "bytes of metadata");
}

// The number in "the call has N bytes of metadata".
int64_t BytesNamed(const grpc::Status& status) {
  const std::string& message = status.error_message();
  const size_t begin = std::string("the call has ").size();
  int64_t bytes = 0;
  EXPECT_TRUE(absl::SimpleAtoi(message.substr(begin, message.find(' ', begin) - begin), &bytes))
      << message;
  return bytes;
}

TEST(Limits, RefuseACallWithMoreMetadataThanTheBound) {
  FakeServer server;
  for (const Call& call : AllCalls(server.NewChannel())) {
    const grpc::Status far = RunWithMetadata(call, 2 * kMetadataBound);
    ASSERT_TRUE(RefusesMetadata(far)) << call.name << ": " << far.error_message();
    EXPECT_THAT(far.error_message(), HasSubstr("65536"));
    const int64_t added_by_grpc = BytesNamed(far) - 2 * kMetadataBound;
    const int64_t at_bound = kMetadataBound - added_by_grpc;
    EXPECT_FALSE(RefusesMetadata(RunWithMetadata(call, at_bound - 1))) << call.name;
    EXPECT_FALSE(RefusesMetadata(RunWithMetadata(call, at_bound))) << call.name;
    const grpc::Status above = RunWithMetadata(call, at_bound + 1);
    ASSERT_TRUE(RefusesMetadata(above)) << call.name << ": " << above.error_message();
    EXPECT_EQ(BytesNamed(above), kMetadataBound + 1) << call.name;
  }
}

TEST(Limits, LeaveTheCallsBesideAlone) {
  FakeServer server;
  server.control().Hold();
  grpc::ClientContext context;
  const auto beside = server.stub().Generate(&context, GreedyRequest(8));
  server.control().AwaitHeldStep();
  for (const Call& call : AllCalls(server.NewChannel())) {
    EXPECT_TRUE(RefusesMetadata(RunWithMetadata(call, 900 << 10))) << call.name;
  }
  server.control().Release();
  EXPECT_TRUE(ReadAll<v1::GenerateResponse>(beside.get()).ok());
}

TEST(Limits, EndAHealthWatchWithTooMuchMetadata) {
  FakeServer server;
  const auto stub = grpc::health::v1::Health::NewStub(server.NewChannel());
  grpc::ClientContext context;
  context.AddMetadata("x", std::string(2 * kMetadataBound, 'a'));
  // A Watch that is not refused does not end.
  const grpc::Status status =
      ReadAll<grpc::health::v1::HealthCheckResponse>(stub->Watch(&context, {}));
  EXPECT_TRUE(RefusesMetadata(status)) << status.error_message();
}

TEST(Limits, RefuseCompressedMessages) {
  FakeServer server;
  v1::TokenizeRequest request;
  request.set_text(std::string(100000, 'a'));
  for (const auto algorithm : {GRPC_COMPRESS_GZIP, GRPC_COMPRESS_DEFLATE, GRPC_COMPRESS_NONE}) {
    grpc::ClientContext context;
    context.set_compression_algorithm(algorithm);
    v1::TokenizeResponse response;
    const grpc::Status status = server.stub().Tokenize(&context, request, &response);
    EXPECT_EQ(status.error_code(), algorithm == GRPC_COMPRESS_NONE
                                       ? grpc::StatusCode::OK
                                       : grpc::StatusCode::UNIMPLEMENTED);
  }
}

}  // namespace
}  // namespace retnet
