// Requests that cannot be answered.
#include <grpcpp/generic/generic_stub.h>

#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/server/fake_server.h"

namespace retnet {
namespace {

using ::testing::HasSubstr;
using ::testing::SizeIs;

grpc::Status CompleteStatus(const v1::GenerateRequest& request, FakeServer* server) {
  grpc::ClientContext context;
  v1::CompleteResponse response;
  return server->stub().Complete(&context, request, &response);
}

TEST(Requests, ThatCannotBeReadSayWhy) {
  FakeServer server;
  v1::GenerateRequest request;
  request.set_text("ab\xFF");
  grpc::Status status = CompleteStatus(request, &server);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(status.error_message(), "text is not UTF-8 at byte 2");

  request = GreedyRequest(2);
  request.add_stop("a");
  request.add_stop("\xC0");
  status = server.Generate(request).status;
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(status.error_message(), "stop is not UTF-8 at byte 0");

  request = GreedyRequest(2);
  v1::GenerateRequest::GetReflection()->MutableUnknownFields(&request)->AddVarint(999, 1);
  status = server.Generate(request).status;
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_THAT(status.error_message(), HasSubstr("999"));

  status = server.Generate(GreedyRequest(0)).status;
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(status.error_message(), "max_tokens is 0; it must be from 1 to 4096");

  // Another message's bytes altogether.
  grpc::GenericStub stub(server.NewChannel());
  const grpc::Slice garbage("\xFF\xFF\xFF");
  const grpc::ByteBuffer bytes(&garbage, 1);
  grpc::ByteBuffer answer;
  grpc::ClientContext context;
  grpc::CompletionQueue queue;
  const auto call =
      stub.PrepareUnaryCall(&context, "/retnet.v1.Generation/Complete", bytes, &queue);
  call->StartCall();
  call->Finish(&answer, &status, nullptr);
  void* tag = nullptr;
  bool ok = false;
  ASSERT_TRUE(queue.Next(&tag, &ok));
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(status.error_message(), "the request is not a retnet.v1.GenerateRequest");
}

TEST(Requests, ForTextWithoutATokenizerSaySo) {
  FakeServerOptions options;
  options.has_tokenizer = false;
  FakeServer server(options);
  const Streamed streamed = server.Generate(GreedyRequest(4));
  EXPECT_TRUE(streamed.status.ok()) << streamed.status.error_message();
  EXPECT_THAT(streamed.ids(), SizeIs(4));
  EXPECT_EQ(streamed.text(), "");
  v1::GenerateRequest request;
  request.set_text("once");
  const grpc::Status status = CompleteStatus(request, &server);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::FAILED_PRECONDITION);
  EXPECT_THAT(status.error_message(), HasSubstr("tokenizer"));
}

}  // namespace
}  // namespace retnet
