#include "engine/states/token_history.h"

#include <algorithm>

namespace retnet {

bool TokenHistory::Valid(std::span<const TokenId> tokens, std::span<const int32_t> class_runs) {
  const auto not_above = [](int32_t a, int32_t b) { return a >= b; };
  if (std::adjacent_find(class_runs.begin(), class_runs.end(), not_above) != class_runs.end()) {
    return false;
  }
  return class_runs.empty() || (class_runs.front() >= 0 && class_runs.back() < tokens.size());
}

size_t TokenHistory::Changes(int32_t position) const {
  return std::upper_bound(class_runs_.begin(), class_runs_.end(), position) - class_runs_.begin();
}

RowClass TokenHistory::ClassAt(int32_t position) const {
  return Changes(position) % 2 == 0 ? RowClass::kPrompt : RowClass::kSampled;
}

int32_t TokenHistory::RunEnd(int32_t position) const {
  const size_t changes = Changes(position);
  return changes < class_runs_.size() ? class_runs_[changes] : size();
}

void TokenHistory::Append(TokenId token, RowClass row_class) { Append({&token, 1}, row_class); }

void TokenHistory::Append(std::span<const TokenId> tokens, RowClass row_class) {
  if (tokens.empty()) return;
  cut_ = {};
  const RowClass last = class_runs_.size() % 2 == 0 ? RowClass::kPrompt : RowClass::kSampled;
  if (row_class != last) class_runs_.push_back(size());
  tokens_.insert(tokens_.end(), tokens.begin(), tokens.end());
}

void TokenHistory::Truncate(int32_t size) {
  if (size < this->size()) cut_ = {};
  tokens_.resize(size);
  while (!class_runs_.empty() && class_runs_.back() >= size) class_runs_.pop_back();
}

}  // namespace retnet
