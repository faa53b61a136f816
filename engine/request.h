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
#include "engine/session_key.h"
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
  kStop,       // a stop token, or the stop checker; without sampling: the end of the prompt
  kLength,     // max_tokens or the context length
  kStopped,    // by Stop
  kCancelled,  // by Cancel
  kError,      // the status says why
};

// Called on the engine thread with each sampled token but a stop token, in order, before the sink
// gets its answer; true: the text so far ends with a stop string, so the request is finished,
// whatever min_tokens says. Must not block.
using StopChecker = std::function<bool(TokenId)>;

enum class RequestKind {
  kGenerate,
  kScore,    // log-probability of every prompt token but the first; nothing is sampled
  kPrefill,  // appends the prompt to its session and computes it; nothing is sampled
};

// Immutable input of one sequence.
struct Request {
  RequestKind kind = RequestKind::kGenerate;
  // At least one token, but for a session that has some; for a generation fewer than the context
  // length, together with the session's. A score may be longer: its state does not grow.
  std::vector<TokenId> prompt;
  // Goes before the prompt where no history does, as BOS. Read with a session only; kNoToken:
  // nothing does.
  TokenId first_token = kNoToken;
  // Whose request it is: the owner of `session`, and of the cached prefixes it may use. With an id
  // the prompt follows that session's history: a generation's tokens are appended to it, a score
  // leaves it as it is and scores the prompt alone.
  SessionKey session;
  bool keep = true;               // the session, when this generation has ended; else it is deleted
  bool wait_for_session = false;  // while another request runs on it; else ABORTED
  // Lengths of the prompt at which its state is worth caching, ascending, beside those that the
  // engine chooses; the chunk boundary at or before each counts.
  std::vector<int32_t> cache_boundaries;
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
  // Most tokens guessed ahead, from what followed the same tokens earlier, and verified in one
  // step, 0 to kMaxDraftTokens; the output is the same.
  int32_t max_draft_tokens = 0;
  // Not 0: the request that has the same prompt, from which the state before its last token is
  // taken once it is computed. It must have been submitted with `samples` above 1.
  RequestId sample_of = 0;
  int32_t samples = 1;  // how many requests, this one included, will share its prompt
};

// For each step of priority a request passes at most so many that came before it, so that none
// waits for ever: it counts as one that came so many requests earlier.
inline constexpr int64_t kPriorityReach = 1024;

inline constexpr int32_t kMaxDraftTokens = 31;

struct Usage {
  int32_t prompt_tokens = 0;  // the session's included
  int32_t completion_tokens = 0;
  int32_t cached_tokens = 0;    // prompt tokens that a kept state spared
  int32_t drafted_tokens = 0;   // guessed ahead,
  int32_t accepted_tokens = 0;  // and right
};

struct Timings {
  absl::Duration queued;   // submission to the first step that holds the sequence
  absl::Duration prefill;  // from there to the first sampled token (without one: to the end)
  absl::Duration decode;   // from there to the end
};

struct Completion {
  absl::Status status;  // not OK: reason is kError, or kCancelled with CANCELLED
  FinishReason reason = FinishReason::kStop;
  TokenId stop_token = kNoToken;  // the stop token that ended it, if one did
  Usage usage;
  Timings timings;
  // Of the session's history from now on; 0 without one, and for a request that never ran on it.
  int32_t session_tokens = 0;
};

// Where a request's answers go. Methods are called on the engine thread, in order, and must not
// block; OnFinish is the last, called exactly once for every request that Submit accepted, after its
// slot is free. An answer holds the sampled token, a stop token too, with what was asked of
// log-probabilities; for a score, the next prompt token with its own. OnTokens gets what one step
// gave.
class TokenSink {
 public:
  virtual ~TokenSink() = default;
  virtual void OnTokens(std::span<const SampleResult> answers) = 0;
  virtual void OnFinish(const Completion& completion) = 0;
};

}  // namespace retnet

#endif  // RETNET_ENGINE_REQUEST_H_
