#include "engine/scheduling/state_manager.h"

#include <algorithm>
#include <utility>

namespace retnet {

StateManager::StateManager(Model* model, StateCache* states, const StateManagerOptions& options)
    : model_(model),
      state_cache_(states),
      options_(options),
      chunk_(model->info().chunk),
      prefix_cache_(chunk_) {}

// A score needs every row's logits, so a cached prefix would spare it nothing.
bool StateManager::Caches(const Sequence& sequence) const {
  return options_.prefix_cache && sequence.kind() != RequestKind::kScore;
}

// A state that came from outside may be anything, and so may all that is computed from it: whoever
// made it must not choose what others get.
bool StateManager::Shares(const Sequence& sequence) const {
  return Caches(sequence) && sequence.history().origin() == Origin::kComputed;
}

// Before its first token there is no state to share.
bool StateManager::Leads(const Sequence& sequence) {
  return sequence.request().samples > 1 && sequence.prompt_tokens() > 1;
}

bool StateManager::Plan(Sequence* sequence) {
  if (Caches(*sequence)) {
    sequence->chunk_keys().Begin(sequence->request().session.owner, chunk_, options_.deterministic);
    sequence->chunk_keys().Extend(sequence->history(), sequence->history().size());
  }
  sequence->set_cuts(Cuts(sequence));
  if (sequence->request().sample_of != 0) return Join(sequence);
  if (Leads(*sequence)) groups_[sequence->id()];
  return true;
}

std::vector<int32_t> StateManager::Cuts(Sequence* sequence) {
  std::vector<int32_t> cuts;
  if (Shares(*sequence)) {
    const auto keys = sequence->chunk_keys().keys();
    const int32_t new_from = sequence->prompt_tokens() - sequence->new_prompt_tokens();
    for (const int32_t boundary : sequence->request().cache_boundaries) {
      cuts.push_back((new_from + boundary) / chunk_ * chunk_);
    }
    cuts.push_back(prefix_cache_.Note(keys));
    std::erase_if(cuts, [&](int32_t cut) {
      return cut <= 0 || cut > static_cast<int32_t>(keys.size()) * chunk_ ||
             prefix_cache_.Contains(keys, cut);
    });
  }
  if (Leads(*sequence)) cuts.push_back(sequence->prompt_tokens() - 1);
  std::sort(cuts.begin(), cuts.end());
  cuts.erase(std::unique(cuts.begin(), cuts.end()), cuts.end());
  return cuts;
}

bool StateManager::Join(Sequence* sequence) {
  const auto group = groups_.find(sequence->request().sample_of);
  if (group == groups_.end()) return true;
  if (group->second.state.state != nullptr) {
    sequence->set_state(group->second.state);
    return true;
  }
  group->second.waiting.push_back(sequence);
  return false;
}

// Without a state each sample computes the prompt itself.
void StateManager::Share(Sequence* leader, StatePrefix state) {
  const auto group = groups_.find(leader->id());
  if (group == groups_.end()) return;
  group->second.state = std::move(state);
  for (Sequence* sample : std::exchange(group->second.waiting, {})) {
    sample->set_state(group->second.state);
    released_.push_back(sample);
  }
}

// A sample that came before the others may end before they are there; they do without it.
void StateManager::EndGroup(Sequence* sequence) {
  if (const auto joined = groups_.find(sequence->request().sample_of); joined != groups_.end()) {
    std::erase(joined->second.waiting, sequence);
  }
  std::erase(released_, sequence);
  const auto led = groups_.find(sequence->id());
  if (led == groups_.end()) return;
  released_.insert(released_.end(), led->second.waiting.begin(), led->second.waiting.end());
  groups_.erase(led);
}

bool StateManager::WorthRestoring(const StatePrefix& prefix, absl::Duration prefill_row) const {
  if (!prefix.there() || prefix.tokens == 0) return false;
  if (prefix.state->pinned) return true;
  const absl::Duration restore = state_cache_->RestoreTime(*prefix.state);
  return restore == absl::ZeroDuration() || restore < prefix.tokens * prefill_row;
}

bool StateManager::AssignSlot(Sequence* sequence, absl::Duration prefill_row) {
  const int32_t most = sequence->most_resumed();
  const bool begins = sequence->computed_tokens() == 0;
  StatePrefix prefix = sequence->TakeState();
  prefix.tokens = std::min(prefix.tokens, most);
  if (!WorthRestoring(prefix, prefill_row)) prefix = {};
  bool hit = false;
  if (Caches(*sequence)) {
    StatePrefix cached = prefix_cache_.Find(sequence->chunk_keys().keys(), most);
    hit = cached.tokens > prefix.tokens && WorthRestoring(cached, prefill_row);
    if (hit) prefix = std::move(cached);
  }
  const int32_t tokens = prefix.tokens;
  const SlotId slot = tokens == 0 ? state_cache_->Take() : state_cache_->Restore(&prefix);
  if (slot == kNoSlot) {
    // A state that had to leave the only slot may be had from where it went.
    const bool moved =
        tokens > 0 && prefix.state->slot == kNoSlot && state_cache_->free_slots() > 0;
    sequence->set_state(std::move(prefix));
    return moved && AssignSlot(sequence, prefill_row);
  }
  if (begins && Caches(*sequence) && sequence->prompt_tokens() > chunk_) {
    ++(hit ? cache_hits_ : cache_misses_);
  }
  sequence->Start(slot, tokens);
  // Nothing is left to be shared that the cache does not have.
  if (Leads(*sequence) && tokens == sequence->prompt_tokens() - 1) Share(sequence, {});
  return true;
}

bool StateManager::Preempt(Sequence* sequence) {
  StateRef state = state_cache_->ParkPinned(sequence->slot());
  if (state == nullptr) return false;
  sequence->LeaveSlot();
  sequence->set_state({.state = std::move(state), .tokens = sequence->computed_tokens()});
  return true;
}

void StateManager::PieceEnded(Sequence* sequence, int32_t first) {
  if (!sequence->state_is_sound()) return;
  const int32_t position = sequence->computed_tokens();
  const int32_t prompt_tokens = sequence->prompt_tokens();
  if (sequence->PassCut()) {
    if (position % chunk_ == 0) CacheFork(sequence, position);
    if (Leads(*sequence) && position == prompt_tokens - 1) {
      StateRef state = state_cache_->ParkFork(sequence->slot(), position);
      Share(sequence, {.state = state, .tokens = state == nullptr ? 0 : position});
    }
  }
  const bool prompt_ended = first < prompt_tokens && position >= prompt_tokens;
  if (prompt_ended) CacheFork(sequence, model_->state(sequence->slot()).base_position);
}

void StateManager::CacheFork(Sequence* sequence, int32_t tokens) {
  if (!Shares(*sequence) || tokens == 0) return;
  const auto keys = sequence->chunk_keys().keys();
  if (prefix_cache_.Contains(keys, tokens)) return;
  StateRef state = state_cache_->ParkFork(sequence->slot(), tokens);
  if (state == nullptr) return;
  state_cache_->Cache(state);
  prefix_cache_.Insert(keys, tokens, std::move(state));
}

// At the end of an answer, with which the next turn's prompt begins; and where a request was given
// up, since whoever gives up asks again.
bool StateManager::CacheWhole(Sequence* sequence) {
  const absl::Status& status = sequence->completion().status;
  const bool is_right =
      status.ok() || absl::IsCancelled(status) || absl::IsDeadlineExceeded(status);
  if (!Shares(*sequence) || !is_right) return false;
  const int32_t tokens = model_->state(sequence->slot()).base_position;
  // Behind the history the state has seen guesses that were in flight.
  if (tokens == 0 || tokens > sequence->history().size()) return false;
  sequence->chunk_keys().Extend(sequence->history(), tokens);
  const auto keys = sequence->chunk_keys().keys();
  if (prefix_cache_.Contains(keys, tokens)) return false;
  StateRef state = state_cache_->ParkAt(sequence->slot(), tokens);
  state_cache_->Cache(state);
  prefix_cache_.Insert(keys, tokens, std::move(state));
  return true;
}

StatePrefix StateManager::Retire(Sequence* sequence, bool keep) {
  EndGroup(sequence);
  if (sequence->slot() == kNoSlot) {
    StatePrefix state = sequence->TakeState();
    if (keep && state.state != nullptr) state_cache_->Unpin(state.state);
    return state;
  }
  StatePrefix kept;
  if (keep && ready(*sequence) && sequence->state_is_sound()) {
    kept = {.state = state_cache_->Park(sequence->slot()), .tokens = sequence->computed_tokens()};
  } else if (!ready(*sequence) || !CacheWhole(sequence)) {
    state_cache_->Release(sequence->slot());
  }
  sequence->LeaveSlot();
  return kept;
}

}  // namespace retnet
