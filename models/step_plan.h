// One step laid out for the operators: its segments checked, their tokens and positions row by row,
// their pieces on the chunk grid in waves, and the rows whose logits are wanted.
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

// Thread-compatible; reused from step to step, its memory is reserved at construction.
class StepPlan {
 public:
  StepPlan(int32_t max_rows, int32_t vocab_size, int32_t slots);

  // Plans a step over `segments` and advances `states` past it. INVALID_ARGUMENT, with no effect on
  // `states`, for a segment that breaks a rule of Model::Launch.
  absl::Status Make(std::span<const Segment> segments, SlotStates& states);

  int32_t rows() const { return static_cast<int32_t>(tokens_.size()); }
  int32_t sampled_rows() const { return sampled_rows_; }  // the first ones
  // [rows]; LastTokenOf a slot where the host may not know the token yet.
  std::span<const TokenId> tokens() const { return tokens_; }
  std::span<const int32_t> positions() const { return positions_; }  // [rows]
  static constexpr int32_t kFoldPhases = 2;
  // The segments of one call of Retention each: mostly one fold phase, two where SlotStates::Advance says
  // so.
  std::span<const std::vector<RetentionSegment>> fold_phases() const {
    return std::span(fold_phases_).first(fold_phases_[1].empty() ? 1 : 2);
  }

  // The rows whose logits are wanted, in the order of segments and outputs.
  int32_t outputs() const { return static_cast<int32_t>(output_rows_.size()); }
  std::span<const int32_t> output_rows() const { return output_rows_; }
  std::span<const SampleRequest> requests() const { return requests_; }
  // For each output the slot whose last token it samples, or kNotKept.
  std::span<const int32_t> keep_in() const { return keep_in_; }

  // Whether the step is the next sampled token of each of its sequences, in one fold phase.
  bool decodes() const;
  // Makes it a step of `rows` rows, up to max_rows, by rows that touch no slot and whose answers
  // mean nothing. Only of a step that decodes, or of none.
  void Pad(int32_t rows);
  // Makes it the step of no segments.
  void Clear();

 private:
  absl::Status Check(std::span<const Segment> segments, const SlotStates& states);
  absl::Status CheckSegment(const Segment& segment, const SlotStates& states);
  absl::Status CheckOutputs(const Segment& segment) const;
  void Append(const Segment& segment, SlotStates& states);
  void KeepLastSampled(const Segment& segment, SlotStates& states);

  const int32_t max_rows_;
  const int32_t vocab_size_;

  int32_t sampled_rows_ = 0;
  std::vector<TokenId> tokens_;
  std::vector<int32_t> positions_;
  std::vector<RetentionPiece> pieces_;  // never reallocated: the waves point into it
  std::array<std::vector<RetentionSegment>, kFoldPhases> fold_phases_;
  std::vector<int32_t> output_rows_;
  std::vector<SampleRequest> requests_;
  std::vector<int32_t> keep_in_;
  std::vector<bool> named_;  // [slots]: those that a segment being checked has named
};

}  // namespace retnet

#endif  // RETNET_MODELS_STEP_PLAN_H_
