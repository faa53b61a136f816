// What the engine is asked, and how it answers: token ids in, token ids out. No text, no gRPC.
#ifndef RETNET_ENGINE_REQUEST_H_
#define RETNET_ENGINE_REQUEST_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "models/model.h"

namespace retnet {

// Names one accepted request: 1, 2, … in the order of arrival; never reused.
using RequestId = uint64_t;

// Every field is resolved: defaults of generation_config.json are the server's business. The bounds
// keep every edited logit finite.
struct SamplingParams {
  float temperature = 1.0f;                           // 0: greedy; else 1e-4 to 100
  int32_t top_k = 0;                                  // 0: all
  float top_p = 1.0f;                                 // 0 to 1
  float min_p = 0.0f;                                 // 0 to 1
  float repetition_penalty = 1.0f;                    // over prompt and output; 0.01 to 100
  float frequency_penalty = 0.0f;                     // over the output, by count; -2 to 2
  float presence_penalty = 0.0f;                      // over the output, once; -2 to 2
  std::vector<std::pair<TokenId, float>> logit_bias;  // each token at most once; -100 to 100
  uint64_t seed = 0;
};

enum class FinishReason {
  kStop,       // a stop token, or the stop checker; a score: the end of its prompt
  kLength,     // max_tokens or the context length
  kCancelled,  // by Cancel
  kError,      // the status says why
};

// Called on the engine thread with each sampled token but a stop token, in order, before the sink
// gets its answer; true: the text so far ends with a stop string, so the request is finished,
// whatever min_tokens says. Must not block.
using StopChecker = std::function<bool(TokenId)>;

enum class RequestKind {
  kGenerate,
  kScore,  // log-probability of every prompt token but the first; nothing is sampled
};

// Immutable input of one sequence.
struct Request {
  RequestKind kind = RequestKind::kGenerate;
  // At least one token, and for a generation fewer than the context length. A score may be longer:
  // its state does not grow.
  std::vector<TokenId> prompt;
  int32_t top_logprobs = 0;  // 0 to kMaxTopLogprobs
  int32_t priority = 0;      // greater first, as far as kPriorityReach goes; equal: by arrival
  absl::Time deadline =
      absl::InfiniteFuture();  // DEADLINE_EXCEEDED from then on, waiting or running

  // What follows is read for generations only.
  SamplingParams sampling;
  int32_t max_tokens = 0;  // at least 1; the output ends at the context length in any case
  int32_t min_tokens = 0;  // until so many are there, stop tokens are banned; at most max_tokens
  std::vector<TokenId> stop_token_ids;  // EOS included unless it is to be ignored
  StopChecker stop;                     // may be empty
  bool logprobs = false;                // of the sampled tokens (a score always has them)
};

// For each step of priority a request passes at most so many that came before it, so that none
// waits for ever: it counts as one that came so many requests earlier.
inline constexpr int64_t kPriorityReach = 1024;

struct Usage {
  int32_t prompt_tokens = 0;
  int32_t completion_tokens = 0;
  int32_t cached_tokens = 0;  // prompt tokens that a kept state spared
};

struct Timings {
  absl::Duration queued;   // submission to the first step that holds the sequence
  absl::Duration prefill;  // from there to the first sampled token (a score: to its end)
  absl::Duration decode;   // from there to the end
};

struct Completion {
  absl::Status status;  // not OK: reason is kError, or kCancelled with CANCELLED
  FinishReason reason = FinishReason::kStop;
  TokenId stop_token = kNoToken;  // the stop token that ended it, if one did
  Usage usage;
  Timings timings;
};

// Where a request's answers go. Methods are called on the engine thread, in order, and must not
// block; Done is the last, called exactly once for every request that Submit accepted, after its
// slot is free. An answer holds the sampled token, a stop token too, with what was asked of
// log-probabilities; for a score, the next prompt token with its own. Answers gets what one step
// gave.
class TokenSink {
 public:
  virtual ~TokenSink() = default;
  virtual void Answers(std::span<const LogitsAnswer> answers) = 0;
  virtual void Done(const Completion& completion) = 0;
};

}  // namespace retnet

#endif  // RETNET_ENGINE_REQUEST_H_
