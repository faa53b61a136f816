// Decides where the state of a sequence comes from and where it goes: its session's, the one of a
// sample with the same prompt, a cached prefix, or none yet.
#ifndef RETNET_ENGINE_SCHEDULING_STATE_MANAGER_H_
#define RETNET_ENGINE_SCHEDULING_STATE_MANAGER_H_

#include <cstdint>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/time/time.h"
#include "engine/options.h"
#include "engine/scheduling/sequence.h"
#include "engine/states/prefix_cache.h"
#include "engine/states/state_cache.h"
#include "models/model.h"

namespace retnet {

// Owns no state: those of running sequences are in their slots, all others belong to the
// StateCache, to which the prefix cache and the samples' groups here hold references. Sequences are
// not owned and must be retired before they end. Thread-compatible.
class StateManager {
 public:
  // `model` and `states` outlive it.
  StateManager(Model* model, StateCache* states, const StateManagerOptions& options);

  // Before anything of it is computed, its history being complete: decides where its pieces end so
  // that their states can be shared. False: it takes its state from a sequence that is computing
  // it, and is not to be scheduled before TakeReleased names it.
  bool Plan(Sequence* sequence);
  std::vector<Sequence*> TakeReleased() { return std::exchange(released_, {}); }

  // Gives the sequence a slot with the longest state there is for it; false when none can be had
  // now. `prefill_row` is what computing one token is expected to take: a state in host memory
  // must cost less.
  bool AssignSlot(Sequence* sequence, absl::Duration prefill_row);
  // The slot's state is there.
  bool ready(const Sequence& sequence) const { return !state_cache_->filling(sequence.slot()); }

  // Parks the state of a sequence that may give up its slot, for AssignSlot to go on from. False,
  // and nothing is done, where memory for that is used up.
  bool Preempt(Sequence* sequence);

  // A piece of it has been computed that began at `first`.
  void PieceEnded(Sequence* sequence, int32_t first);

  // Releases the slot of a finished sequence. With `keep` the state is parked for its session and
  // returned, truncated to the tokens that the session keeps, if it is sound. Otherwise the prefix
  // cache gets it, or it is dropped. One that has no slot returns the state it was to go on from.
  StatePrefix Retire(Sequence* sequence, bool keep);

  void ClearCache() { prefix_cache_.Clear(); }
  int32_t cached_prefixes() const { return prefix_cache_.entries(); }
  int64_t cache_hits() const { return cache_hits_; }
  int64_t cache_misses() const { return cache_misses_; }

 private:
  // Samples that wait for the first one of their prompt.
  struct SampleGroup {
    std::vector<Sequence*> waiting;
    StatePrefix state;  // before the prompt's last token, once it is computed
  };

  // The sequence may go on from cached prefixes.
  bool Caches(const Sequence& sequence) const;
  // Others may go on from its states, too: this server vouches for them.
  bool Shares(const Sequence& sequence) const;
  std::vector<int32_t> Cuts(Sequence* sequence);
  bool Join(Sequence* sequence);
  static bool Leads(const Sequence& sequence);
  void Share(Sequence* leader, StatePrefix state);
  void EndGroup(Sequence* sequence);
  void CacheFork(Sequence* sequence, int32_t tokens);
  bool CacheWhole(Sequence* sequence);
  bool WorthRestoring(const StatePrefix& prefix, absl::Duration prefill_row) const;

  Model* const model_;
  StateCache* const state_cache_;
  const StateManagerOptions options_;
  const int32_t chunk_;
  PrefixCache prefix_cache_;
  absl::flat_hash_map<RequestId, SampleGroup> groups_;  // by the first sample
  std::vector<Sequence*> released_;
  int64_t cache_hits_ = 0;
  int64_t cache_misses_ = 0;
};

}  // namespace retnet

#endif  // RETNET_ENGINE_SCHEDULING_STATE_MANAGER_H_
