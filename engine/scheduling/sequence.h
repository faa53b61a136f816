// One request in progress: what of its history is computed, what its next rows ask for, when it
// ends.
#ifndef RETNET_ENGINE_SCHEDULING_SEQUENCE_H_
#define RETNET_ENGINE_SCHEDULING_SEQUENCE_H_

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "engine/request.h"
#include "engine/scheduling/logit_edits.h"
#include "engine/scheduling/prompt_lookup.h"
#include "engine/scheduling/tenants.h"
#include "engine/states/chunk_keys.h"
#include "engine/states/slot_pool.h"
#include "engine/states/state_cache.h"
#include "engine/states/token_history.h"
#include "models/model.h"

namespace retnet {

// The history is the session's, if there is one, then the prompt and then the output; its newest
// token is pending: the state has not seen it. Made on the thread that submits, then handed over to
// the engine thread; never used by two at a time.
class Sequence {
 public:
  // The request is a valid one. Session, prompt and output of a generation end at `context_length`
  // tokens.
  Sequence(Request request, std::shared_ptr<TokenSink> sink, int32_t context_length,
           absl::Time submitted);

  // Given when the request is accepted, before anything else is asked.
  void set_id(RequestId id) { id_ = id; }
  RequestId id() const { return id_; }
  RequestKind kind() const { return request_.kind; }
  // What was asked, but for the prompt, which has become the history.
  const Request& request() const { return request_; }
  bool has_session() const { return !request_.session.id.empty(); }
  absl::Time deadline() const { return request_.deadline; }
  TokenSink& sink() const { return *sink_; }
  int32_t priority() const { return request_.priority; }
  // Smaller comes first; the id decides among equals.
  int64_t rank() const { return static_cast<int64_t>(id_) - int64_t{priority()} * kPriorityReach; }

  // The tenant whose share it uses, while it is scheduled; otherwise null.
  Tenants::Entry* tenant() const { return tenant_; }
  void set_tenant(Tenants::Entry* tenant) { tenant_ = tenant; }

  // Puts a session's history before the prompt; `state` is that of some of it, or none.
  // Once, before anything is computed. INVALID_ARGUMENT, and nothing is taken, when together they
  // are empty or too long. One that was to be stopped is finished then.
  absl::Status Continue(TokenHistory* session, StatePrefix* state);

  // The history's first tokens that a state may have seen before the next step: at least one row is
  // left, and all that have an output to be given.
  int32_t most_resumed() const;
  // A state of its own to go on from, or none; taken once.
  StatePrefix TakeState() { return std::exchange(state_, {}); }
  void set_state(StatePrefix state) { state_ = std::move(state); }
  // It has a slot, whose state has seen the first `position` tokens.
  void Start(SlotId slot, int32_t position);
  SlotId slot() const { return slot_; }  // kNoSlot while it has none
  // It has a slot and no row in flight, so that its state is one to go on from later.
  bool may_give_up_slot() const {
    return slot_ != kNoSlot && scheduled_tokens_ == computed_ && !finished_;
  }
  // The slot is somebody else's from now on.
  void LeaveSlot() { slot_ = kNoSlot; }

  const TokenHistory& history() const { return history_; }
  // Returns the history that a session keeps. Tokens that a stop string reaches into are not in it.
  // Of a sequence that failed, it ends with the first token that is not computed, but has at least
  // the tokens that the session had at the start. Only the completion may be used afterwards.
  TokenHistory TakeHistory();
  // Of the history, for the prefix cache.
  ChunkKeys& chunk_keys() { return chunk_keys_; }
  // Tokens at whose end the state is to be cached, ascending; pieces end there.
  void set_cuts(std::vector<int32_t> cuts) { cuts_ = std::move(cuts); }
  // Whether a piece has just ended at a cut, which is then behind it.
  bool PassCut();

  // Tokens of the history that the state has seen in steps that are over,
  int32_t computed_tokens() const { return computed_; }
  // and in all that are launched, the token that one of them samples among them.
  int32_t scheduled_tokens() const { return scheduled_tokens_; }
  int32_t prompt_tokens() const { return prompt_tokens_; }  // the session's included
  int32_t new_prompt_tokens() const { return prompt_tokens_ - session_tokens_; }
  // Rows whose tokens are known and that are still to be launched: of the prompt, or the pending
  // token. The last token of a score or a prefill needs no row.
  int32_t rows_left() const { return RowsAfter(scheduled_tokens_); }
  // How many of them the next piece may have: they are of one class, and end at the next cut.
  int32_t piece_rows() const;
  RowClass row_class() const {
    return scheduled_tokens_ < history_.size() ? history_.ClassAt(scheduled_tokens_)
                                               : RowClass::kSampled;
  }
  // The prompt is launched, so that the next row is that of a sampled token.
  bool decoding() const { return scheduled_tokens_ >= prompt_tokens_; }
  // The step in flight is its last one.
  bool ends_in_flight() const;
  // Its next row cannot be launched before the step in flight is over: what that samples decides
  // the row's edits or guesses, or its state is to be cached first.
  bool awaits_step() const;
  // While decoding: guesses up to `most` tokens that may follow the pending one, and gives the rows
  // of the next segment, at least 1.
  int32_t Draft(int32_t most);

  // The next `rows` rows, which are in flight from now on: 1 to piece_rows(), or those of Draft.
  // Appends what they ask for to `outputs`, which must have room without growing; the segment is
  // valid until the next call.
  Segment NextSegment(int32_t rows, std::vector<RowOutput>* outputs);
  // The step that holds these rows begins.
  void MarkStarted(absl::Time now);
  // Takes the results of the `rows` rows of the oldest NextSegment in flight. Returns how many of
  // them count: those behind a wrong guess do not, and the state must forget their tokens. A result
  // without a token ends the sequence with INTERNAL; it does not count, and none behind it does.
  size_t Accept(int32_t rows, std::span<const SampleResult> results, absl::Time now);
  // Finishes it for a reason from outside: CANCELLED, DEADLINE_EXCEEDED, UNAVAILABLE or the model's
  // failure. OK: its client has heard enough, and its session keeps the whole history.
  void End(absl::Status status, absl::Time now);
  // If it still waits for its session: it will finish when it has the session, so that the session
  // gets the prompt. Returns whether it waits.
  bool StopWhenContinued();

  // Counts the rows in flight of a finished sequence as computed, except the row of the pending
  // token, which a session computes when it goes on. Their results are dropped.
  void CountInFlightAsComputed();

  // False once logits were not finite: the state is worth nothing, and nobody may go on from it.
  bool state_is_sound() const { return state_is_sound_; }
  // By Accept or End; one that has nothing to compute is finished from the start.
  bool finished() const { return finished_; }
  // Of a finished sequence.
  const Completion& completion() const { return completion_; }
  void set_session_tokens(int32_t tokens) { completion_.session_tokens = tokens; }

 private:
  void PutFirst(std::span<const TokenId> head);
  // False, and the sequence has ended, if the result has no token.
  bool AcceptResult(const SampleResult& result, absl::Time now);
  void AcceptToken(TokenId token, absl::Time now);
  void EndWithoutResult(absl::Time now);
  void Finish(FinishReason reason, absl::Time now);
  void FinishIfNothingIsLeft(absl::Time now);
  int32_t output_tokens() const { return history_.size() - prompt_tokens_; }
  int32_t RowsAfter(int32_t position) const {
    return history_.size() - position - (kind() == RequestKind::kGenerate ? 0 : 1);
  }
  bool samples_in_flight() const {
    return kind() == RequestKind::kGenerate && scheduled_tokens_ >= history_.size();
  }
  // The next token changes the edits of the one after it.
  bool EditsChange() const;
  // The state never sees the pending token before its row is scheduled: computed tokens are fewer
  // than those of the history, and at most the scheduled ones. These are ahead of the history by no
  // more than the token that is being sampled and the guesses. At the end of every method that
  // moves one of them.
  void CheckInvariants() const;

  // Constant once accepted.
  RequestId id_ = 0;
  Request request_;  // but for the prompt, which has become the history
  std::shared_ptr<TokenSink> sink_;
  absl::Time submitted_;
  int32_t context_length_;
  int32_t session_tokens_ = 0;        // of the history, when it came
  CutToken session_cut_;              // behind them
  int32_t prompt_tokens_;             // with them
  int32_t max_output_;                // tokens
  std::vector<TokenId> stop_tokens_;  // ascending

  // Progress.
  TokenHistory history_;
  int32_t computed_ = 0;
  int32_t scheduled_tokens_ = 0;
  StatePrefix state_;
  ChunkKeys chunk_keys_;
  std::vector<int32_t> cuts_;
  PromptLookup lookup_;
  // While it decodes: the pending token, or kLastSampled, and the guesses.
  std::vector<TokenId> segment_tokens_;
  SlotId slot_ = kNoSlot;
  StopDecision stop_;  // the one that finished it
  Tenants::Entry* tenant_ = nullptr;
  LogitEdits edits_;
  SampleRequest query_;  // of the next sampled token
  absl::Time started_ = absl::InfiniteFuture();
  absl::Time first_token_ = absl::InfiniteFuture();
  bool continued_ = false;
  bool stops_ = false;
  bool finished_ = false;
  bool state_is_sound_ = true;
  Completion completion_;
};

}  // namespace retnet

#endif  // RETNET_ENGINE_SCHEDULING_SEQUENCE_H_
