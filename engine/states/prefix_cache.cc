#include "engine/states/prefix_cache.h"

#include <algorithm>
#include <utility>

namespace retnet {
namespace {

// Chunks of prompts that are remembered: some MB.
constexpr size_t kMostNoted = 1 << 16;

}  // namespace

StatePrefix PrefixCache::Find(std::span<const ChunkKey> keys, int32_t most) {
  for (int32_t chunks = std::min<int32_t>(keys.size(), most / chunk_); chunks > 0; --chunks) {
    const auto entry = entries_.find(keys[chunks - 1]);
    if (entry == entries_.end()) continue;
    if (!entry->second->gone()) return {.state = entry->second, .tokens = chunks * chunk_};
    entries_.erase(entry);
  }
  return {};
}

bool PrefixCache::Contains(std::span<const ChunkKey> keys, int32_t tokens) const {
  const auto entry = entries_.find(KeyOf(keys, tokens));
  return entry != entries_.end() && !entry->second->gone();
}

void PrefixCache::Insert(std::span<const ChunkKey> keys, int32_t tokens, StateRef state) {
  if (entries_.size() >= drop_at_) DropEvicted();
  entries_.insert_or_assign(KeyOf(keys, tokens), std::move(state));
}

// Looked for whenever the entries have doubled, so that it costs little an insertion.
void PrefixCache::DropEvicted() {
  absl::erase_if(entries_, [](const auto& entry) { return entry.second->gone(); });
  drop_at_ = std::max<size_t>(64, 2 * entries_.size());
}

int32_t PrefixCache::Note(std::span<const ChunkKey> keys) {
  size_t shared = 0;
  while (shared < keys.size() && noted_.contains(keys[shared])) ++shared;
  for (size_t i = shared; i < keys.size(); ++i) {
    if (!noted_.insert(keys[i]).second) continue;
    noted_in_order_.push_back(keys[i]);
    if (noted_in_order_.size() <= kMostNoted) continue;
    noted_.erase(noted_in_order_.front());
    noted_in_order_.pop_front();
  }
  return static_cast<int32_t>(shared) * chunk_;
}

}  // namespace retnet
