// What calls do to each other: many at once, slow and vanished readers, full queues, deadlines,
// drains.
#include <grpcpp/client_context.h>

#include <chrono>
#include <future>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "absl/time/clock.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/server/fake_server.h"

namespace retnet {
namespace {

using grpc::health::v1::HealthCheckResponse;
using ::testing::HasSubstr;
using ::testing::SizeIs;

// Returns when the engine has nothing to do; a test that hangs here has found a lost slot.
void AwaitIdle(const Engine& engine) {
  while (engine.stats().running + engine.stats().waiting > 0) {
    absl::SleepFor(absl::Milliseconds(1));
  }
}

v1::GenerateRequest RandomRequest(int seed) {
  std::mt19937 random(seed);
  const auto below = [&](int bound) { return std::uniform_int_distribution(0, bound - 1)(random); };
  v1::GenerateRequest request;
  for (int i = below(40); i >= 0; --i) request.mutable_token_ids()->add_ids(3 + below(256));
  request.set_max_tokens(1 + below(60));
  request.set_temperature(below(2) == 0 ? 0 : 1.2);
  request.set_seed(seed);
  request.set_ignore_eos(true);
  if (below(2) == 0) request.set_repetition_penalty(1.3);
  return request;
}

TEST(Streams, GiveTogetherExactlyWhatEachGivesAlone) {
  FakeServer server;
  constexpr int kStreams = 64;
  std::vector<Streamed> alone;
  for (int i = 0; i < kStreams; ++i) alone.push_back(server.Generate(RandomRequest(i)));
  std::vector<std::future<Streamed>> together;
  for (int i = 0; i < kStreams; ++i) {
    together.push_back(
        std::async(std::launch::async, [&server, i] { return server.Generate(RandomRequest(i)); }));
  }
  for (int i = 0; i < kStreams; ++i) {
    const Streamed streamed = together[i].get();
    ASSERT_TRUE(streamed.status.ok()) << streamed.status.error_message();
    EXPECT_EQ(streamed.ids(), alone[i].ids());
    EXPECT_EQ(streamed.text(), alone[i].text());
    EXPECT_THAT(streamed.ids(), SizeIs(RandomRequest(i).max_tokens()));
  }
  EXPECT_THAT(server.control().violations(), SizeIs(0));
}

TEST(Streams, OfAReaderThatComesLateLoseNothing) {
  FakeServer server;
  v1::GenerateRequest request = GreedyRequest(4000);
  request.set_ignore_eos(true);
  request.set_logprobs(10);  // more than the stream's window holds, which is kept small
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_HTTP2_STREAM_LOOKAHEAD_BYTES, 1);
  arguments.SetInt(GRPC_ARG_HTTP2_BDP_PROBE, 0);
  grpc::ClientContext context;
  const auto channel = server.NewChannel(arguments);
  const auto stub = v1::Generation::NewStub(channel);
  const auto reader = stub->Generate(&context, request);
  // It harms nobody that nothing is read: the sample ends and its slot serves others.
  while (server.engine().stats().requests_finished == 0) absl::SleepFor(absl::Milliseconds(1));
  EXPECT_THAT(server.Generate(GreedyRequest(5)).chunks, testing::Not(SizeIs(0)));

  Streamed streamed;
  v1::GenerateResponse response;
  while (reader->Read(&response)) {
    if (response.has_chunk()) streamed.chunks.push_back(response.chunk());
  }
  ASSERT_TRUE(reader->Finish().ok());
  const std::vector<v1::Token> tokens = streamed.tokens();
  ASSERT_THAT(tokens, SizeIs(4000));
  for (int i = 0; i < 4000; ++i) ASSERT_EQ(tokens[i].completion_tokens(), i + 1);
  EXPECT_LT(streamed.chunks.size(), 4000);
  std::string text;
  for (const v1::Token& token : tokens) text += token.text();
  EXPECT_EQ(streamed.text().substr(0, text.size()), text);
}

// One connection fills every slot and the queue; another one's requests are served beside it.
TEST(Fairness, AClientIsServedBesideAFloodAndTheFloodGoesOn) {
  FakeServerOptions options;
  options.model.slots = 2;
  options.model.step_time = absl::Milliseconds(1);
  options.engine.max_queue = 4;
  options.engine.max_context_length = 1 << 20;
  FakeServer server(options);
  v1::GenerateRequest endless = GreedyRequest(1 << 19);
  endless.set_ignore_eos(true);
  std::vector<std::unique_ptr<grpc::ClientContext>> contexts;
  std::vector<std::unique_ptr<grpc::ClientReader<v1::GenerateResponse>>> flood;
  for (int i = 0; i < 6; ++i) {
    contexts.push_back(std::make_unique<grpc::ClientContext>());
    flood.push_back(server.stub().Generate(contexts.back().get(), endless));
    while (server.engine().stats().running + server.engine().stats().waiting < i + 1) {
      absl::SleepFor(absl::Milliseconds(1));
    }
  }
  while (server.engine().stats().running < 2) absl::SleepFor(absl::Milliseconds(1));
  const auto modest = v1::Generation::NewStub(server.NewChannel());
  for (int i = 0; i < 5; ++i) {
    grpc::ClientContext context;
    v1::CompleteResponse response;
    const grpc::Status status = modest->Complete(&context, GreedyRequest(20), &response);
    ASSERT_TRUE(status.ok()) << status.error_message();
    EXPECT_EQ(response.usage().completion_tokens(), 20);
  }
  EXPECT_GE(server.engine().stats().preemptions, 1);
  v1::GenerateResponse response;
  EXPECT_EQ(flood.back()->Read(&response), false) << "the newest of the flood made room";
  EXPECT_EQ(flood.back()->Finish().error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_EQ(server.engine().stats().running + server.engine().stats().waiting, 5);
  flood.pop_back();
  for (const auto& context : contexts) context->TryCancel();
  for (const auto& reader : flood) {
    while (reader->Read(&response)) {
    }
    EXPECT_EQ(reader->Finish().error_code(), grpc::StatusCode::CANCELLED);
  }
  AwaitIdle(server.engine());
}

TEST(Streams, OfClientsThatLeaveFreeTheirSlots) {
  FakeServerOptions options;
  options.model.slots = 1;
  options.model.step_time = absl::Milliseconds(1);
  options.engine.max_context_length = 1 << 20;
  FakeServer server(options);
  v1::GenerateRequest request = GreedyRequest(1 << 20);
  request.set_ignore_eos(true);
  v1::GenerateResponse response;
  {
    grpc::ClientContext context;
    const auto reader = server.stub().Generate(&context, request);
    ASSERT_TRUE(reader->Read(&response));
    context.TryCancel();
    while (reader->Read(&response)) {
    }
    EXPECT_EQ(reader->Finish().error_code(), grpc::StatusCode::CANCELLED);
  }
  AwaitIdle(server.engine());
  // One that leaves while it waits for the slot, and its samples with it.
  grpc::ClientContext context;
  const auto running = server.stub().Generate(&context, request);
  ASSERT_TRUE(running->Read(&response));
  {
    request.set_n(3);
    grpc::ClientContext waiting_context;
    const auto waiting = server.stub().Generate(&waiting_context, request);
    while (server.engine().stats().waiting < 3) absl::SleepFor(absl::Milliseconds(1));
    waiting_context.TryCancel();
    EXPECT_EQ(waiting->Finish().error_code(), grpc::StatusCode::CANCELLED);
  }
  while (server.engine().stats().waiting > 0) absl::SleepFor(absl::Milliseconds(1));
  context.TryCancel();
  EXPECT_EQ(running->Finish().error_code(), grpc::StatusCode::CANCELLED);
  AwaitIdle(server.engine());
}

TEST(Calls, BeyondTheQueueAreRefusedAtOnce) {
  FakeServerOptions options;
  options.model.slots = 1;
  options.engine.max_queue = 2;
  FakeServer server(options);
  server.control().Hold();
  std::vector<std::future<Streamed>> accepted;
  for (int i = 0; i < 3; ++i) {
    accepted.push_back(
        std::async(std::launch::async, [&] { return server.Generate(GreedyRequest(3)); }));
  }
  while (server.engine().stats().running + server.engine().stats().waiting < 3) {
    absl::SleepFor(absl::Milliseconds(1));
  }
  const Streamed refused = server.Generate(GreedyRequest(3));  // the model stands still
  EXPECT_EQ(refused.status.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_THAT(refused.status.error_message(), HasSubstr("max_queue = 2"));
  server.control().Release();
  for (auto& call : accepted) EXPECT_TRUE(call.get().status.ok());
  // Samples beyond the queue are refused together, and those that had a place give it back.
  v1::GenerateRequest many = GreedyRequest(3);
  many.set_n(128);
  EXPECT_EQ(server.Generate(many).status.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  AwaitIdle(server.engine());
  EXPECT_TRUE(server.Generate(GreedyRequest(3)).status.ok());
}

TEST(Calls, EndAtTheirDeadlineRunningOrWaiting) {
  FakeServerOptions options;
  options.model.slots = 1;
  options.model.step_time = absl::Milliseconds(1);
  options.engine.max_context_length = 1 << 20;
  FakeServer server(options);
  v1::GenerateRequest request = GreedyRequest(1 << 20);
  request.set_ignore_eos(true);
  std::vector<std::future<grpc::Status>> calls;
  for (int i = 0; i < 2; ++i) {
    calls.push_back(std::async(std::launch::async, [&] {
      grpc::ClientContext context;
      context.set_deadline(std::chrono::system_clock::now() + std::chrono::milliseconds(200));
      v1::CompleteResponse response;
      return server.stub().Complete(&context, request, &response);
    }));
  }
  for (auto& call : calls) {
    EXPECT_EQ(call.get().error_code(), grpc::StatusCode::DEADLINE_EXCEEDED);
  }
  AwaitIdle(server.engine());
}

TEST(Server, StopsServingWhenTheModelFails) {
  FakeServer server;
  EXPECT_EQ(server.Health(""), HealthCheckResponse::SERVING);
  EXPECT_EQ(server.Health("retnet.v1.Generation"), HealthCheckResponse::SERVING);
  EXPECT_EQ(server.Health("another"), HealthCheckResponse::SERVICE_UNKNOWN);
  server.control().FailAt(3, absl::InternalError("the device is lost"));
  const Streamed streamed = server.Generate(GreedyRequest(10));
  EXPECT_EQ(streamed.status.error_code(), grpc::StatusCode::INTERNAL);
  EXPECT_THAT(streamed.status.error_message(), HasSubstr("the device is lost"));
  EXPECT_THAT(streamed.tokens(), SizeIs(3));  // what there was
  EXPECT_EQ(server.Generate(GreedyRequest(10)).status.error_code(), grpc::StatusCode::UNAVAILABLE);
  while (server.Health("") == HealthCheckResponse::SERVING) absl::SleepFor(absl::Milliseconds(1));
  EXPECT_EQ(server.Health("retnet.v1.Generation"), HealthCheckResponse::NOT_SERVING);
}

TEST(Server, DrainsWhatRunsAndRefusesTheRest) {
  FakeServer server;
  server.control().Hold();
  auto running = std::async(std::launch::async, [&] { return server.Generate(GreedyRequest(20)); });
  server.control().AwaitHeldStep();
  auto drained =
      std::async(std::launch::async, [&] { return server.server().Drain(absl::InfiniteFuture()); });
  while (server.Health("") == HealthCheckResponse::SERVING) absl::SleepFor(absl::Milliseconds(1));
  EXPECT_EQ(server.Health("retnet.v1.Generation"), HealthCheckResponse::NOT_SERVING);
  grpc::Status refused;
  while (refused.ok()) {  // health turns first
    grpc::ClientContext context;
    v1::GetModelResponse response;
    refused = server.stub().GetModel(&context, v1::GetModelRequest(), &response);
  }
  EXPECT_EQ(refused.error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_EQ(server.Generate(GreedyRequest(1)).status.error_code(), grpc::StatusCode::UNAVAILABLE);
  server.control().Release();
  const Streamed streamed = running.get();
  EXPECT_TRUE(streamed.status.ok()) << streamed.status.error_message();
  EXPECT_THAT(streamed.finals, SizeIs(1));
  EXPECT_TRUE(drained.get());
}

TEST(Server, EndsWhatADrainLeaves) {
  FakeServerOptions options;
  options.model.step_time = absl::Milliseconds(1);
  options.engine.max_context_length = 1 << 20;
  FakeServer server(options);
  v1::GenerateRequest request = GreedyRequest(1 << 20);
  request.set_ignore_eos(true);
  grpc::ClientContext context;
  const auto reader = server.stub().Generate(&context, request);
  v1::GenerateResponse response;
  ASSERT_TRUE(reader->Read(&response));
  EXPECT_FALSE(server.server().Drain(absl::Now() + absl::Milliseconds(20)));
  while (reader->Read(&response)) {
  }
  EXPECT_EQ(reader->Finish().error_code(), grpc::StatusCode::UNAVAILABLE);
}

}  // namespace
}  // namespace retnet
