// One request in progress: what of its history is computed, what its next rows ask for, when it
// ends.
#ifndef RETNET_ENGINE_SEQUENCE_H_
#define RETNET_ENGINE_SEQUENCE_H_

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "engine/logit_edits.h"
#include "engine/request.h"
#include "engine/slot_pool.h"
#include "models/model.h"

namespace retnet {

// The history is the prompt and then the output; its newest token is pending: the state has not
// seen it. Made on the thread that submits, then handed over to the engine thread; never used by
// two at a time.
class Sequence {
 public:
  // The request is a valid one. Prompt and output of a generation end at `context_length` tokens.
  Sequence(Request request, std::shared_ptr<TokenSink> sink, int32_t context_length,
           absl::Time submitted);

  // Given when the request is accepted, before anything else is asked.
  void set_id(RequestId id) { id_ = id; }
  RequestId id() const { return id_; }
  RequestKind kind() const { return request_.kind; }
  absl::Time deadline() const { return request_.deadline; }
  TokenSink& sink() const { return *sink_; }
  int32_t priority() const { return request_.priority; }
  // Smaller comes first; the id decides among equals.
  int64_t rank() const { return static_cast<int64_t>(id_) - int64_t{priority()} * kPriorityReach; }

  SlotId slot() const { return slot_; }  // kNoSlot while it has none
  void set_slot(SlotId slot) { slot_ = slot; }

  // Tokens of the history that the state has seen.
  int32_t position() const { return computed_; }
  // Rows whose tokens are known and that are still to be computed: of the prompt, or the pending
  // token. The last token of a score needs no row.
  int32_t rows_left() const {
    return static_cast<int32_t>(history_.size()) - computed_ -
           (kind() == RequestKind::kScore ? 1 : 0);
  }
  // The prompt is computed, so that the next row is that of a sampled token.
  bool decoding() const { return computed_ >= prompt_tokens_; }

  // The next `rows` rows, 1 to rows_left(). Appends what they ask for to `outputs`, which must have
  // room without growing; the segment is valid until Accept.
  Segment NextSegment(int32_t rows, std::vector<RowOutput>* outputs);
  // The step that holds these rows begins.
  void MarkStarted(absl::Time now);
  // Takes the answers of the `rows` rows of the last NextSegment.
  void Accept(int32_t rows, std::span<const LogitsAnswer> answers, absl::Time now);
  // Ends it for a reason from outside: CANCELLED, DEADLINE_EXCEEDED, UNAVAILABLE, the model's
  // failure.
  void End(absl::Status status, absl::Time now);

  // By Accept or End; a score of one token is finished from the start.
  bool finished() const { return finished_; }
  // Of a finished sequence.
  const Completion& completion() const { return completion_; }

 private:
  void AcceptToken(TokenId token, absl::Time now);
  void Finish(FinishReason reason, absl::Time now);
  int32_t output_tokens() const { return static_cast<int32_t>(history_.size()) - prompt_tokens_; }

  // Constant once accepted.
  RequestId id_ = 0;
  Request request_;  // but for the prompt, which has become the history
  std::shared_ptr<TokenSink> sink_;
  absl::Time submitted_;
  int32_t prompt_tokens_;
  int32_t max_output_;                // tokens
  std::vector<TokenId> stop_tokens_;  // ascending

  // Progress.
  std::vector<TokenId> history_;
  int32_t computed_ = 0;
  SlotId slot_ = kNoSlot;
  LogitEdits edits_;
  LogitsQuery query_;  // of the next sampled token
  absl::Time started_ = absl::InfiniteFuture();
  absl::Time first_token_ = absl::InfiniteFuture();
  bool finished_ = false;
  Completion completion_;
};

}  // namespace retnet

#endif  // RETNET_ENGINE_SEQUENCE_H_
