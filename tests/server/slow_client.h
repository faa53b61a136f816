// Clients that do not read, or hold on, for tests of what a server holds for them.
#ifndef RETNET_TESTS_SERVER_SLOW_CLIENT_H_
#define RETNET_TESTS_SERVER_SLOW_CLIENT_H_

#include <memory>
#include <string>

#include "absl/time/clock.h"
#include "engine/snapshots/snapshot.h"
#include "gtest/gtest.h"
#include "tests/server/fake_server.h"

namespace retnet {

inline constexpr size_t kMegabyte = 1 << 20;

inline FakeServerOptions StreamTestOptions(StreamLimits streams) {
  FakeServerOptions options;
  options.server.streams = streams;
  options.model.max_rows = 256;
  options.engine.max_context_length = 1 << 20;
  return options;
}

// A client that has a window of one byte for each call: the server can send almost nothing until
// the client reads.
class SlowClient {
 public:
  explicit SlowClient(FakeServer* server) {
    grpc::ChannelArguments arguments;
    arguments.SetInt(GRPC_ARG_HTTP2_STREAM_LOOKAHEAD_BYTES, 1);
    arguments.SetInt(GRPC_ARG_HTTP2_BDP_PROBE, 0);
    const auto channel = server->NewChannel(arguments);
    generation_ = v1::Generation::NewStub(channel);
    sessions_ = v1::Sessions::NewStub(channel);
  }
  v1::Generation::Stub& generation() { return *generation_; }
  v1::Sessions::Stub& sessions() { return *sessions_; }

 private:
  std::unique_ptr<v1::Generation::Stub> generation_;
  std::unique_ptr<v1::Sessions::Stub> sessions_;
};

class ExportCall {
 public:
  explicit ExportCall(SlowClient* client) {
    v1::ExportSessionRequest request;
    request.set_id("large");
    reader_ = client->sessions().Export(&context_, request);
  }
  bool Read() {
    v1::ExportSessionResponse response;
    if (!reader_->Read(&response)) return false;
    bytes_ += response.chunk();
    return true;
  }
  grpc::Status ReadAll() {
    while (Read()) continue;
    return reader_->Finish();
  }
  void Cancel() { context_.TryCancel(); }
  const std::string& bytes() const { return bytes_; }

 private:
  grpc::ClientContext context_;
  std::unique_ptr<grpc::ClientReader<v1::ExportSessionResponse>> reader_;
  std::string bytes_;
};

// A snapshot of `tokens` tokens, four bytes each.
inline std::string LargeSnapshot(FakeServer* server, int32_t tokens) {
  Snapshot snapshot;
  snapshot.history.assign(tokens, 7);
  snapshot.created = snapshot.last_used = absl::Now();
  return *EncodeSnapshot(snapshot, server->engine().snapshot_format());
}

// Makes the session "large".
inline std::string MakeLargeSession(FakeServer* server) {
  std::string bytes = LargeSnapshot(server, 900'000);
  grpc::ClientContext context;
  v1::Session session;
  const auto writer = server->sessions().Import(&context, &session);
  v1::ImportSessionRequest request;
  request.mutable_session()->set_id("large");
  request.set_chunk(bytes);
  writer->Write(request);
  writer->WritesDone();
  const grpc::Status status = writer->Finish();
  EXPECT_TRUE(status.ok()) << status.error_message();
  return bytes;
}

inline void ExpectServes(FakeServer* server) {
  EXPECT_TRUE(server->Generate(GreedyRequest(5)).status.ok());
}

}  // namespace retnet

#endif  // RETNET_TESTS_SERVER_SLOW_CLIENT_H_
