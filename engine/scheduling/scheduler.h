// Who runs in the next step. Pure logic: it knows rows and ranks, no model, no threads and no time.
#ifndef RETNET_ENGINE_SCHEDULING_SCHEDULER_H_
#define RETNET_ENGINE_SCHEDULING_SCHEDULER_H_

#include <cstdint>
#include <set>
#include <span>
#include <vector>

#include "absl/functional/function_ref.h"
#include "engine/scheduling/sequence.h"

namespace retnet {

// The next rows of one sequence.
struct ScheduledRows {
  Sequence* sequence = nullptr;
  int32_t rows = 0;
};

// A step holds a row of every decoding sequence, and those of its guesses, then pieces of prompts,
// under a row budget, and under the caller's own for prompts beside decoding sequences, who wait
// for the step. Where decoding sequences would leave prompts less than an eighth of the rows,
// prompts are kept that eighth and the decoding ones take turns. Half of the prompts' rows are the
// first one's by rank; the others go by priority and then to whoever needs the fewest, so that
// short prompts do not wait behind long ones. So nobody waits for ever: to become the first by rank
// takes boundedly many others (kPriorityReach), and each step gives rows to the first; only a
// budget of a single row goes to prompts last. Sequences are not owned and must live until they are
// removed. Thread-compatible.
class Scheduler {
 public:
  // Prompts are cut at multiples of `chunk` where that costs less than half of the rows there are.
  Scheduler(int32_t max_rows, int32_t chunk);

  // It waits for a slot.
  void Enqueue(Sequence* sequence);
  // The first in the queue; nullptr when it is empty.
  Sequence* NextWaiting() const;
  // It has a slot: its rows go into the steps.
  void Add(Sequence* sequence);
  // It is no longer to be scheduled, wherever it was.
  void Remove(Sequence* sequence);

  // How many prompt rows may be beside so many decoding ones, at least 1; 0 only now and then.
  using PromptBudget = absl::FunctionRef<int32_t(int32_t decoding_rows)>;

  // The pieces of the next step; empty when nobody has a slot. Those of the last one may be in
  // flight if may_go_on(); sequences that finished are removed. Valid until the next call.
  std::span<const ScheduledRows> NextBatch(PromptBudget prompt_budget);
  // Nobody would be left out of a step that is launched now because of what is in flight: a step
  // without them would cost them more than the wait costs the others.
  bool may_go_on() const;

  int32_t waiting() const { return static_cast<int32_t>(waiting_.size()); }
  int32_t running() const { return static_cast<int32_t>(prompts_.size() + decoding_.size()); }

 private:
  struct ByRank {
    bool operator()(const Sequence* a, const Sequence* b) const {
      return a->rank() != b->rank() ? a->rank() < b->rank() : a->id() < b->id();
    }
  };

  void AddDecodingRows();
  void AddPromptRows();
  void AddPiece(Sequence* sequence, int32_t rows);
  int32_t PieceRows(const Sequence& sequence, int32_t rows_free) const;
  // Each sequence is in one place; the ordered ones are in order; those that decode are past their
  // prompts. At the end of every public method that changes something; O(sequences).
  void CheckInvariants() const;
  // The batch keeps the row budget and Model::Launch's order, with no sequence twice.
  void CheckBatch() const;

  const int32_t max_rows_;
  const int32_t chunk_;
  std::set<Sequence*, ByRank> waiting_;
  std::set<Sequence*, ByRank> prompts_;  // with a slot, prompt not computed yet
  std::vector<Sequence*> decoding_;      // the one that has waited longest for a row first
  std::vector<Sequence*> by_need_;       // the prompts, as the others' rows go
  std::vector<ScheduledRows> batch_;
  int32_t rows_free_ = 0;  // of the batch being made
};

}  // namespace retnet

#endif  // RETNET_ENGINE_SCHEDULING_SCHEDULER_H_
