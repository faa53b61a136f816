#include "models/step_plan.h"

#include <cmath>
#include <limits>

#include "absl/strings/str_cat.h"
#include "kernels/status_macros.h"

namespace retnet {
namespace {

template <typename... Parts>
absl::Status Invalid(const Parts&... parts) {
  return absl::InvalidArgumentError(absl::StrCat(parts...));
}

absl::Status CheckToken(TokenId token, int32_t vocab_size) {
  if (token >= 0 && token < vocab_size) return absl::OkStatus();
  return Invalid("token ", token, " is not in the vocabulary of ", vocab_size);
}

// The conditions are written so that NaN fails.
absl::Status CheckSampling(const Sampling& sampling, int32_t vocab_size) {
  if (!(sampling.temperature >= 0.0f && std::isfinite(sampling.temperature))) {
    return Invalid("temperature is ", sampling.temperature, "; it must be finite and at least 0");
  }
  if (sampling.top_k < 0) return Invalid("top_k is ", sampling.top_k, "; it must be at least 0");
  if (!(sampling.top_p >= 0.0f && sampling.top_p <= 1.0f)) {
    return Invalid("top_p is ", sampling.top_p, "; it must be from 0 to 1");
  }
  if (!(sampling.min_p >= 0.0f && sampling.min_p <= 1.0f)) {
    return Invalid("min_p is ", sampling.min_p, "; it must be from 0 to 1");
  }
  for (const LogitEdit& edit : sampling.edits) {
    RETURN_IF_ERROR(CheckToken(edit.token, vocab_size));
    if (!(edit.repetition > 0.0f && std::isfinite(edit.repetition)) || std::isnan(edit.add)) {
      return Invalid("the edit of token ", edit.token, " is ", edit.repetition, ", ", edit.add,
                     "; repetition must be finite and above 0, add a number");
    }
  }
  return absl::OkStatus();
}

absl::Status CheckRequest(const SampleRequest& request, int32_t vocab_size) {
  if (request.top_logprobs < 0 || request.top_logprobs > kMaxTopLogprobs) {
    return Invalid("top_logprobs is ", request.top_logprobs, "; it must be from 0 to ",
                   kMaxTopLogprobs);
  }
  return request.scored_token == kNoToken ? CheckSampling(request.sampling, vocab_size)
                                          : CheckToken(request.scored_token, vocab_size);
}

}  // namespace

StepPlan::StepPlan(int32_t max_rows, int32_t vocab_size, int32_t slots)
    : max_rows_(max_rows), vocab_size_(vocab_size), named_(slots, false) {
  tokens_.reserve(max_rows);
  positions_.reserve(max_rows);
  pieces_.reserve(max_rows);
  for (auto& fold_phase : fold_phases_) fold_phase.reserve(max_rows);
  output_rows_.reserve(max_rows);
  requests_.reserve(max_rows);
  keep_in_.reserve(max_rows);
}

absl::Status StepPlan::Make(std::span<const Segment> segments, SlotStates& states) {
  const absl::Status checked = Check(segments, states);
  for (const Segment& segment : segments) {
    if (states.Check(segment.slot).ok()) named_[segment.slot] = false;
  }
  RETURN_IF_ERROR(checked);
  Clear();
  states.BeginStep();
  for (const Segment& segment : segments) Append(segment, states);
  return absl::OkStatus();
}

void StepPlan::Clear() {
  sampled_rows_ = 0;
  tokens_.clear();
  positions_.clear();
  pieces_.clear();
  for (auto& fold_phase : fold_phases_) fold_phase.clear();
  output_rows_.clear();
  requests_.clear();
  keep_in_.clear();
}

bool StepPlan::decodes() const {
  return sampled_rows_ == rows() && fold_phases_[0].size() == tokens_.size() &&
         output_rows_.size() == tokens_.size();
}

void StepPlan::Pad(int32_t rows) {
  SampleRequest greedy;  // the cheapest request
  greedy.sampling.temperature = 0;
  for (int32_t row = this->rows(); row < rows; ++row) {
    tokens_.push_back(0);
    positions_.push_back(0);
    fold_phases_[0].emplace_back();
    output_rows_.push_back(row);
    requests_.push_back(greedy);
    keep_in_.push_back(kNotKept);
  }
  sampled_rows_ = rows;
}

absl::Status StepPlan::Check(std::span<const Segment> segments, const SlotStates& states) {
  int64_t rows = 0;
  bool prompt = false;
  for (const Segment& segment : segments) {
    if (prompt && segment.row_class == RowClass::kSampled) {
      return Invalid("slot ", segment.slot,
                     " has a segment of sampled tokens after one of prompt tokens");
    }
    prompt = segment.row_class == RowClass::kPrompt;
    RETURN_IF_ERROR(CheckSegment(segment, states));
    RETURN_IF_ERROR(CheckOutputs(segment));
    rows += segment.tokens.size();
  }
  if (rows >= 1 && rows <= max_rows_) return absl::OkStatus();
  return Invalid("a step of ", rows, " rows; it must have 1 to ", max_rows_);
}

absl::Status StepPlan::CheckSegment(const Segment& segment, const SlotStates& states) {
  RETURN_IF_ERROR(states.Check(segment.slot));
  if (named_[segment.slot]) return Invalid("slot ", segment.slot, " appears twice in a step");
  named_[segment.slot] = true;
  const SlotStates::Slot& slot = states[segment.slot];
  if (segment.position != slot.position) {
    return Invalid("slot ", segment.slot, " has seen ", slot.position,
                   " tokens; the segment's position is ", segment.position);
  }
  if (segment.tokens.empty()) return Invalid("slot ", segment.slot, " has a segment of no tokens");
  if (segment.tokens.size() > std::numeric_limits<int32_t>::max() - slot.position) {
    return Invalid("slot ", segment.slot, " is at position ", slot.position, "; ",
                   segment.tokens.size(), " more tokens are too many");
  }
  if (segment.tokens.size() == 1 && segment.tokens[0] == kLastSampled) {
    if (slot.has_sampled) return absl::OkStatus();
    return Invalid("slot ", segment.slot, " has sampled no token yet");
  }
  for (const TokenId token : segment.tokens) RETURN_IF_ERROR(CheckToken(token, vocab_size_));
  return absl::OkStatus();
}

absl::Status StepPlan::CheckOutputs(const Segment& segment) const {
  int64_t previous = -1;
  for (const RowOutput& output : segment.outputs) {
    if (output.row <= previous || output.row >= segment.tokens.size()) {
      return Invalid("slot ", segment.slot, " wants an output of row ", output.row,
                     "; rows must ascend and be below ", segment.tokens.size());
    }
    previous = output.row;
    RETURN_IF_ERROR(CheckRequest(output.request, vocab_size_));
  }
  return absl::OkStatus();
}

void StepPlan::Append(const Segment& segment, SlotStates& states) {
  const SlotStates::Slot& slot = states[segment.slot];
  const int32_t first_row = rows();
  for (int32_t i = 0; i < segment.tokens.size(); ++i) {
    const TokenId token = segment.tokens[i];
    tokens_.push_back(token == kLastSampled ? LastTokenOf(segment.slot) : token);
    positions_.push_back(slot.position + i);
  }
  if (segment.row_class == RowClass::kSampled) sampled_rows_ = rows();
  for (const RowOutput& output : segment.outputs) {
    output_rows_.push_back(first_row + output.row);
    requests_.push_back(output.request);
    keep_in_.push_back(kNotKept);
  }
  KeepLastSampled(segment, states);
  const size_t first_piece = pieces_.size();
  const int32_t fold_phase =
      states.Advance(segment.slot, segment.tokens.size(), first_row, pieces_);
  fold_phases_[fold_phase].push_back(RetentionSegment(pieces_).subspan(first_piece));
}

void StepPlan::KeepLastSampled(const Segment& segment, SlotStates& states) {
  for (size_t i = segment.outputs.size(); i-- > 0;) {
    if (segment.outputs[i].request.scored_token != kNoToken) continue;
    keep_in_[keep_in_.size() - segment.outputs.size() + i] = segment.slot;
    states.SetSampled(segment.slot);
    return;
  }
}

}  // namespace retnet
