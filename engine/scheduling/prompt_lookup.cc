#include "engine/scheduling/prompt_lookup.h"

#include <algorithm>

#include "absl/hash/hash.h"

namespace retnet {

void PromptLookup::Guess(std::span<const TokenId> history, int32_t most,
                         std::vector<TokenId>* guess) {
  const auto size = static_cast<int32_t>(history.size());
  most = std::min(most, next_);
  if (most <= 0 || size < kNgram) return;
  const auto key = [history](int32_t end) {
    return absl::HashOf(absl::MakeConstSpan(history.data() + end - kNgram, kNgram));
  };
  // The newest n-gram itself is entered with the next token.
  for (int32_t end = std::max(indexed_ + 1, kNgram); end < size; ++end) ends_[key(end)] = end;
  indexed_ = std::max(indexed_, size - 1);
  const auto found = ends_.find(key(size));
  if (found == ends_.end()) return;
  const int32_t end = found->second;
  // Two n-grams may share a hash; a wrong guess costs a row, no more, but is easily avoided.
  if (!std::equal(history.begin() + end - kNgram, history.begin() + end, history.end() - kNgram)) {
    return;
  }
  const auto first = history.begin() + end;
  guess->insert(guess->end(), first, first + std::min<ptrdiff_t>(most, history.end() - first));
}

void PromptLookup::Learn(int32_t guessed, int32_t right) {
  if (guessed == 0) return;
  next_ = right == guessed ? std::min(most_, 2 * next_) : std::max(1, right + 1);
  next_ = std::min(next_, most_);
}

}  // namespace retnet
