// What one request of a load has shown.
#ifndef RETNET_CLIENT_BENCH_REQUEST_RECORD_H_
#define RETNET_CLIENT_BENCH_REQUEST_RECORD_H_

#include <grpcpp/support/status.h>

#include <cstdint>
#include <optional>
#include <vector>

namespace retnet {

// How a request ended. Each has exactly one.
enum class Outcome {
  kCompleted,
  kFailed,       // with a status that nothing on this side has provoked
  kCancelled,    // by its conduct
  kDawdled,      // completed, but its times are the slow reader's own
  kVanished,     // its connection was broken on purpose
  kInterrupted,  // by Ctrl-C
};

// A message that brought tokens, after the first such one.
struct TokenArrival {
  float gap = 0;  // seconds since the one before
  int32_t tokens = 0;
};

// The server's own account, in seconds.
struct ServerTimings {
  double queued = 0;
  double prefill = 0;
  double decode = 0;
};

// About 150 bytes and 8 for each message of tokens. Times are seconds since the start of the run.
struct RequestRecord {
  Outcome outcome = Outcome::kFailed;
  double due = 0;    // when it should have been sent
  double sent = 0;   // when it was given to gRPC
  double ended = 0;  // when its status was there
  std::optional<double> first_token;
  int32_t first_tokens = 0;  // in the first message that brought some
  std::vector<TokenArrival> later;
  int32_t prompt_tokens = 0;  // 0 where the request did not say and no final message came
  int32_t output_tokens = 0;
  std::optional<ServerTimings> server;
  grpc::Status status;
};

}  // namespace retnet

#endif  // RETNET_CLIENT_BENCH_REQUEST_RECORD_H_
