// The client of the soak that behaves well.
#ifndef RETNET_TESTS_SERVER_SOAK_GOOD_CLIENT_H_
#define RETNET_TESTS_SERVER_SOAK_GOOD_CLIENT_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "retnet/v1/generation.grpc.pb.h"

namespace retnet {

// What a request took, in milliseconds.
struct Latency {
  double total = 0;
  // Of it, as the server tells. The rest is gRPC's and the network's, on both sides.
  double queued = 0;   // until the first step
  double prefill = 0;  // until the first token
  double decode = 0;   // until the last token

  bool operator<(const Latency& other) const { return total < other.total; }
};

// Small requests, one at a time over one connection, each as a user sends it: 16 tokens of a text
// that is always the same, and so is the answer. Thread-compatible.
class GoodClient {
 public:
  // `token` is its access token. The answer expected is the first one.
  GoodClient(const std::string& address, std::string token);

  // Asks for so long. Latencies come ascending.
  std::vector<Latency> Run(absl::Duration duration);
  // Sends so many prompts of `tokens` tokens, each another one.
  std::vector<Latency> TimePrompts(int32_t tokens, int count);

  // Errors and wrong answers. The first ten are printed.
  int failures() const { return failures_; }

 private:
  // Returns its latency; the text goes to `text`.
  Latency Complete(const v1::GenerateRequest& request, std::string* text);
  void Fail(const std::string& what);

  const std::unique_ptr<v1::Generation::Stub> stub_;
  const std::string token_;
  v1::GenerateRequest request_;
  std::string expected_;
  int failures_ = 0;
};

}  // namespace retnet

#endif  // RETNET_TESTS_SERVER_SOAK_GOOD_CLIENT_H_
