// The results of a run. Metrics are defined as in `vllm bench serve`, where it has them.
#ifndef RETNET_CLIENT_BENCH_LOAD_SUMMARY_H_
#define RETNET_CLIENT_BENCH_LOAD_SUMMARY_H_

#include <grpcpp/support/status.h>

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "client/bench/load_runner.h"
#include "client/bench/samples.h"

namespace retnet {

// Upper bounds in milliseconds that a request must meet to count as good.
struct GoodputGoals {
  std::optional<double> ttft = std::nullopt;
  std::optional<double> tpot = std::nullopt;
  std::optional<double> itl = std::nullopt;  // each gap of the request must meet it
  std::optional<double> e2el = std::nullopt;

  bool any() const { return ttft || tpot || itl || e2el; }
};

struct Failures {
  int64_t count = 0;
  std::string message;  // of the first failure
};

// In milliseconds, for completed requests only. Slow readers are excluded: their pauses would count
// as the server's.
struct Latencies {
  Samples ttft;  // from sending to the first token
  Samples tpot;  // (last token − first token) / (tokens − 1)
  Samples itl;   // between messages with tokens; a message may hold several tokens
  Samples e2el;  // from sending to the end of the stream
  // As reported by the server.
  Samples queued;
  Samples prefill;
  Samples decode;              // for each token after the first
  Samples ttft_beyond_server;  // ttft − queued − prefill
};

// The cost of the client itself.
struct ClientCost {
  double cpu_share = 0;  // of one core
  Samples delay_bounds;  // milliseconds; see StreamThread::TakeDelays
  Samples send_lags;     // milliseconds between due and sent
};

struct LoadSummary {
  double seconds = 0;
  bool interrupted = false;
  std::map<Outcome, int64_t> requests;
  std::map<grpc::StatusCode, Failures> failures;
  int64_t good = 0;             // completed requests that met the goals
  int64_t input_tokens = 0;     // of completed requests
  int64_t output_tokens = 0;    // of completed requests
  int64_t received_tokens = 0;  // of all requests
  double tokens_per_message = 0;
  double peak_output_rate = 0;  // most tokens in one whole second, of all requests
  int64_t peak_running = 0;
  double mean_running = 0;
  Latencies latencies;
  ClientCost client;

  int64_t count(Outcome outcome) const;
  int64_t total() const;
};

LoadSummary Summarize(const LoadResult& result, const GoodputGoals& goals);

// Calls `visit` for each message with tokens.
template <typename Visitor>  // void(double seconds, int32_t tokens)
void VisitTokens(const RequestRecord& record, const Visitor& visit) {
  if (!record.first_token) return;
  double seconds = *record.first_token;
  visit(seconds, record.first_tokens);
  for (const TokenArrival& arrival : record.later) {
    seconds += static_cast<double>(arrival.gap);
    visit(seconds, arrival.tokens);
  }
}

}  // namespace retnet

#endif  // RETNET_CLIENT_BENCH_LOAD_SUMMARY_H_
