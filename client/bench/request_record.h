// The measurements of one request of a load.
#ifndef RETNET_CLIENT_BENCH_REQUEST_RECORD_H_
#define RETNET_CLIENT_BENCH_REQUEST_RECORD_H_

#include <grpcpp/support/status.h>

#include <cstdint>
#include <optional>
#include <vector>

namespace retnet {

// How a request ended.
enum class Outcome {
  kCompleted,
  kFailed,       // with an error that the client did not provoke
  kCancelled,    // by the client, on purpose
  kDawdled,      // completed by a slow reader, so its times are not the server's
  kVanished,     // its connection was broken on purpose
  kInterrupted,  // by Ctrl-C
};

// A message with tokens, after the first such message.
struct TokenArrival {
  float gap = 0;  // seconds since the message before
  int32_t tokens = 0;
};

// Times reported by the server, in seconds.
struct ServerTimings {
  double queued = 0;
  double prefill = 0;
  double decode = 0;
};

// Takes about 150 bytes, and 8 for each message with tokens. Times are seconds since the start of
// the run.
struct RequestRecord {
  Outcome outcome = Outcome::kFailed;
  double due = 0;    // when it should have been sent
  double sent = 0;   // when it was given to gRPC
  double ended = 0;  // when its status arrived
  std::optional<double> first_token;
  int32_t first_tokens = 0;  // tokens in the first message that had any
  std::vector<TokenArrival> later;
  int32_t prompt_tokens = 0;  // 0 if unknown: the prompt was text and no final message arrived
  int32_t output_tokens = 0;
  std::optional<ServerTimings> server;
  grpc::Status status;
};

}  // namespace retnet

#endif  // RETNET_CLIENT_BENCH_REQUEST_RECORD_H_
