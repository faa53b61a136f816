// The plan of one step for the operators: the tokens and positions of all rows, the pieces of the
// segments by chunk and fold phase, and the rows that need logits. It also checks the segments.
#ifndef RETNET_MODELS_STEP_PLAN_H_
#define RETNET_MODELS_STEP_PLAN_H_

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "kernels/kernels.h"
#include "models/model.h"
#include "models/slot_states.h"

namespace retnet {

// Thread-compatible. One object serves all steps; its memory is reserved at construction.
class StepPlan {
 public:
  StepPlan(int32_t max_rows, int32_t vocab_size, int32_t slots);

  // Plans a step over `segments` and advances `states` by its tokens. INVALID_ARGUMENT, without any
  // effect on `states`, for a segment that breaks a rule of Model::Launch.
  absl::Status Make(std::span<const Segment> segments, SlotStates& states);

  int32_t rows() const { return static_cast<int32_t>(tokens_.size()); }
  // The first sampled_rows() rows are sampled rows, the others prompt rows.
  int32_t sampled_rows() const { return sampled_rows_; }
  // [rows]; LastTokenOf(slot) stands for a token that the host may not know yet.
  std::span<const TokenId> tokens() const { return tokens_; }
  std::span<const int32_t> positions() const { return positions_; }  // [rows]
  // The segments of each fold phase, in the order in which the phases must run. Each phase is one
  // call of Retention per layer. Most steps have only phase 0. SlotStates explains why some need
  // two.
  static constexpr int32_t kFoldPhases = 2;
  std::span<const std::vector<RetentionSegment>> fold_phases() const {
    return std::span(fold_phases_).first(fold_phases_[1].empty() ? 1 : 2);
  }

  // The rows that need logits, in the order of segments and outputs.
  int32_t outputs() const { return static_cast<int32_t>(output_rows_.size()); }
  std::span<const int32_t> output_rows() const { return output_rows_; }
  std::span<const SampleRequest> requests() const { return requests_; }
  // [outputs]: the slot whose last token the result becomes, or kNotKept.
  std::span<const int32_t> keep_in() const { return keep_in_; }

  // Whether the step is a decode step: one sampled row with one output per sequence, in one fold
  // phase.
  bool decodes() const;
  // Adds rows until the step has `rows` rows, at most max_rows. The added rows touch no slot, and
  // their results are meaningless. The step must be a decode step or empty.
  void Pad(int32_t rows);
  // Makes the step empty.
  void Clear();

 private:
  absl::Status Check(std::span<const Segment> segments, const SlotStates& states);
  absl::Status CheckSegment(const Segment& segment, const SlotStates& states);
  absl::Status CheckOutputs(const Segment& segment) const;
  void Append(const Segment& segment, SlotStates& states);
  // Marks the last sampling output of the segment: its token becomes the slot's last token.
  void KeepLastSampled(const Segment& segment, SlotStates& states);

  const int32_t max_rows_;
  const int32_t vocab_size_;

  int32_t sampled_rows_ = 0;
  std::vector<TokenId> tokens_;
  std::vector<int32_t> positions_;
  std::vector<RetentionPiece> pieces_;  // never reallocated: fold_phases_ points into it
  std::array<std::vector<RetentionSegment>, kFoldPhases> fold_phases_;
  std::vector<int32_t> output_rows_;
  std::vector<SampleRequest> requests_;
  std::vector<int32_t> keep_in_;
  std::vector<bool> named_;  // [slots]: slots that a checked segment has named; false between calls
};

}  // namespace retnet

#endif  // RETNET_MODELS_STEP_PLAN_H_
