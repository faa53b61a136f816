// The requests and results of the engine: token ids in, token ids out. No text, no gRPC.
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
#include "engine/states/token_history.h"
#include "models/model.h"

namespace retnet {

// Identifies an accepted request: 1, 2, … in the order of arrival. Never reused.
using RequestId = uint64_t;

// Every field has its final value: the server applies the defaults of generation_config.json. The
// bounds keep every edited logit finite.
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

// What a StopChecker says of a token. A text that ended before its stop string has fewer tokens
// than were sampled: those that the string reaches into are no part of the history that is kept.
struct StopDecision {
  bool stops = false;
  int32_t dropped_tokens = 0;  // the newest ones, this one included
  CutToken cut;                // what is left of the first of them

  StopDecision(bool stops = false) : stops(stops) {}  // NOLINT(google-explicit-constructor)
};

// Whose share of the engine a request uses. Tenants share slots, queue and the time of steps: the
// principals by weight, the connections of one principal alike.
struct Tenant {
  std::string principal;
  std::string connection;
  double weight = 1.0;  // of the principal; above 0
};

// Called on the engine thread with each sampled token except stop tokens, in order, before the sink
// gets the token. If it says that the text now ends with a stop string, the request is finished,
// whatever min_tokens says. Must not block.
using StopChecker = std::function<StopDecision(TokenId)>;

// The tokens that precede a prompt on a session.
struct PromptHead {
  std::vector<TokenId> history;  // belong to the session's history, as its cut token; not scored
  std::vector<TokenId> prompt;   // belong to the prompt
};

// Called once, on the engine thread, when the request's turn on its session has come, with the
// session's history. Must not block.
using HeadMaker = std::function<PromptHead(const TokenHistory& history)>;

enum class RequestKind {
  kGenerate,
  kScore,    // log-probability of every prompt token but the first; nothing is sampled
  kPrefill,  // appends the prompt to its session and computes it; nothing is sampled
};

// Immutable input of one sequence.
struct Request {
  RequestKind kind = RequestKind::kGenerate;
  // At least one token, unless the session has some. In a generation, session and prompt together
  // must have fewer tokens than the context length. A score may be longer: it adds nothing to a
  // history.
  std::vector<TokenId> prompt;
  // Makes the beginning of the prompt, which depends on the session's history: a BOS, or the tokens
  // of a text's first word. May be empty. Called only with a session.
  HeadMaker head;
  // session.owner owns the session and the cached prefixes that the request may use. With an id,
  // the prompt follows that session's history. A generation appends its tokens to the history. A
  // score scores only the prompt and leaves the history unchanged.
  SessionKey session;
  Tenant tenant;
  bool keep = true;               // keep the session when this generation ends; otherwise delete it
  bool wait_for_session = false;  // wait while another request runs on it; otherwise ABORTED
  // Tokens of the session that the client saw last. ABORTED if it has fewer now. At least 0.
  int32_t session_tokens = 0;
  // Lengths of the prompt at which its state is worth caching, ascending. The chunk boundary at or
  // before each is used. The engine may choose more.
  std::vector<int32_t> cache_boundaries;
  int32_t top_logprobs = 0;  // 0 to kMaxTopLogprobs
  int32_t priority = 0;      // greater first, as far as kPriorityReach goes; equal: by arrival
  absl::Time deadline =
      absl::InfiniteFuture();  // DEADLINE_EXCEEDED from then on, waiting or running

  // The fields below are read for generations only.
  SamplingParams sampling;
  int32_t max_tokens = 0;  // at least 1; the context length ends the output in any case
  int32_t min_tokens = 0;  // stop tokens are banned before this many tokens; at most max_tokens
  std::vector<TokenId> stop_token_ids;  // EOS included unless it is to be ignored
  StopChecker stop;                     // may be empty
  bool logprobs = false;                // of the sampled tokens (a score always has them)
  // The most tokens to guess ahead and verify in one step, 0 to kMaxDraftTokens. Guesses are what
  // followed the same tokens earlier. The output stays the same.
  int32_t max_draft_tokens = 0;
  // If not 0: the request with the same prompt whose state, before the prompt's last token, this
  // request takes over once it is computed. It must have been submitted with `samples` above 1.
  RequestId sample_of = 0;
  int32_t samples = 1;  // how many requests, this one included, will share its prompt
};

// A request counts as having arrived this many requests earlier for each step of priority. So it
// overtakes at most that many, and no request waits for ever.
inline constexpr int64_t kPriorityReach = 1024;

inline constexpr int32_t kMaxDraftTokens = 31;

struct Usage {
  int32_t prompt_tokens = 0;  // the session's included
  int32_t completion_tokens = 0;
  int32_t cached_tokens = 0;    // prompt tokens that a kept state already covered
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

// Receives the results of a request. Methods are called on the engine thread, in order, and must
// not block. OnTokens gets the results of one step: for a generation the sampled tokens, stop
// tokens included, with the log-probabilities asked for; for a score the next prompt tokens with
// theirs. OnFinish comes last, exactly once for every request that Submit accepted, when its slot
// is free.
class TokenSink {
 public:
  virtual ~TokenSink() = default;
  virtual void OnTokens(std::span<const SampleResult> answers) = 0;
  virtual void OnFinish(const Completion& completion) = 0;
};

}  // namespace retnet

#endif  // RETNET_ENGINE_REQUEST_H_
