#include "engine/scheduling/logit_edits.h"

#include <limits>

namespace retnet {

LogitEdits::LogitEdits(const SamplingParams& params, std::span<const TokenId> prompt,
                       std::span<const TokenId> banned)
    : repetition_penalty_(params.repetition_penalty),
      frequency_penalty_(params.frequency_penalty),
      presence_penalty_(params.presence_penalty) {
  for (const auto& [token, bias] : params.logit_bias) origins_[IndexOf(token)].bias = bias;
  for (TokenId token : banned) origins_[IndexOf(token)].banned = true;
  if (repetition_penalty_ != 1.0f) {
    for (TokenId token : prompt) edits_[IndexOf(token)].repetition = repetition_penalty_;
  }
  for (size_t i = 0; i < edits_.size(); ++i) Update(i);
}

void LogitEdits::Count(TokenId token) {
  if (repetition_penalty_ == 1.0f && frequency_penalty_ == 0.0f && presence_penalty_ == 0.0f) {
    return;
  }
  const size_t index = IndexOf(token);
  edits_[index].repetition = repetition_penalty_;
  ++origins_[index].count;
  Update(index);
}

void LogitEdits::LiftBan() {
  for (size_t i = 0; i < edits_.size(); ++i) {
    if (!origins_[i].banned) continue;
    origins_[i].banned = false;
    Update(i);
  }
}

size_t LogitEdits::IndexOf(TokenId token) {
  const auto [entry, is_new] = indices_.try_emplace(token, edits_.size());
  if (is_new) {
    edits_.push_back({.token = token});
    origins_.emplace_back();
  }
  return entry->second;
}

void LogitEdits::Update(size_t index) {
  const Origin& origin = origins_[index];
  if (origin.banned) {
    edits_[index].add = -std::numeric_limits<float>::infinity();
    return;
  }
  edits_[index].add = origin.bias - frequency_penalty_ * static_cast<float>(origin.count) -
                      (origin.count > 0 ? presence_penalty_ : 0.0f);
}

}  // namespace retnet
