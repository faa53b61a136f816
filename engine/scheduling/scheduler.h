// Who gets a slot and who runs in the next step. Pure logic: it knows tenants, rows and ranks, no
// model, no threads and no clock.
#ifndef RETNET_ENGINE_SCHEDULING_SCHEDULER_H_
#define RETNET_ENGINE_SCHEDULING_SCHEDULER_H_

#include <cstdint>
#include <set>
#include <span>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/functional/function_ref.h"
#include "engine/scheduling/absent_tenants.h"
#include "engine/scheduling/sequence.h"
#include "engine/scheduling/step_cost.h"
#include "engine/scheduling/step_shares.h"
#include "engine/scheduling/tenants.h"

namespace retnet {

// The next rows of one sequence.
struct ScheduledRows {
  Sequence* sequence = nullptr;
  int32_t rows = 0;
};

// Slots. A free slot goes to the tenant that has the fewest for its weight, and there to the first
// by rank. Where none is free, PreemptableFor says who gives way.
//
// Rows. A step holds a row of every decoding sequence, and those of its guesses, then pieces of
// prompts, under a row budget, and under the caller's own for prompts beside decoding sequences,
// who wait for the step. Where decoding sequences would leave prompts less than an eighth of the
// rows, prompts are kept that eighth and the decoding ones take turns. Where several tenants have
// rows, ShareStep says how many each may have, and the sequences of a tenant take turns. A tenant
// that had rows a moment ago counts as one that has some: see AbsentTenants.
//
// Half of a tenant's prompt rows are those of its first prompt by rank; the others go by priority,
// then to prompts before scores, then to whoever needs the fewest, so that short prompts do not
// wait behind long ones. So nobody waits for ever: to become the first by rank takes boundedly many
// others (kPriorityReach), and each step gives rows to the first; only a budget of a single row
// goes to prompts last. Sequences are not owned and must live until they are removed.
// Thread-compatible.
class Scheduler {
 public:
  // Prompts are cut at multiples of `chunk` where that costs less than half of the rows there are.
  Scheduler(int32_t max_rows, int32_t chunk);

  // It waits for a slot.
  void Enqueue(Sequence* sequence);
  // Who gets the next slot; nullptr when nobody waits.
  Sequence* NextWaiting() const;
  // It has a slot and leaves the queue. Its state may still be on its way.
  void TakeSlot(Sequence* sequence);
  // The state is in its slot: its rows go into the steps.
  void Add(Sequence* sequence);
  // It gives up its slot to go on later, and waits again.
  void GiveUpSlot(Sequence* sequence);
  // It is no longer to be scheduled, wherever it was.
  void Remove(Sequence* sequence);

  // The sequence whose slot `waiting` should have, or nullptr. Its tenant has more slots for its
  // weight than the other's, also after the change; or the other has none, and has had less time,
  // by kTurn. No row of it is in flight.
  Sequence* PreemptableFor(const Sequence& waiting) const;
  // The sequence that is to go when the queue is too long: the last by rank, of those that have
  // not begun, of the tenant that has the most in the queue for its weight. nullptr: all have
  // begun.
  Sequence* LastOfLongestQueue() const;

  // How many prompt rows may be beside so many decoding ones, at least 1; 0 only now and then.
  using PromptBudget = absl::FunctionRef<int32_t(int32_t decoding_rows)>;

  // The pieces of the next step; empty when nobody has a slot. Those of the last one may be in
  // flight if may_go_on(); sequences that finished are removed. Valid until the next call.
  // `times` are what rows are expected to take.
  std::span<const ScheduledRows> NextBatch(PromptBudget prompt_budget,
                                           const StepCost::Times& times = {});
  // Nobody would be left out of a step that is launched now because of what is in flight: a step
  // without them would cost them more than the wait costs the others.
  bool may_go_on() const;

  int32_t waiting() const;
  int32_t running() const { return static_cast<int32_t>(prompts_.size() + decoding_.size()); }

 private:
  struct ByRank {
    bool operator()(const Sequence* a, const Sequence* b) const {
      return a->rank() != b->rank() ? a->rank() < b->rank() : a->id() < b->id();
    }
  };

  // Rows that a tenant may still have in the batch being made.
  struct Allotment {
    Tenants::Entry* tenant = nullptr;
    TenantRows left;
    std::vector<Sequence*> prompts;  // by rank
  };
  using Queue = std::set<Sequence*, ByRank>;

  // Gives each tenant its share of the step's time, those that have had the least time first. A
  // tenant that waits for a slot gets a share too, and so does one that is expected back. Neither
  // uses it; it keeps the step short, so that they need not wait long for the step's end.
  void Allot(const StepCost::Times& times);
  Allotment& AllotmentOf(const Sequence& sequence);
  void AddDecodingRows();
  void AddPromptRows(Allotment* allotment);
  // Charges tenants for the batch.
  void Charge(const StepCost::Times& times);
  bool LeaveQueue(Sequence* sequence);
  // The last by rank of the tenant's that may give up their slots.
  Sequence* LastToRun(const Tenants::Entry& tenant) const;
  void AddPiece(Sequence* sequence, int32_t rows);
  int32_t PieceRows(const Sequence& sequence, int32_t rows_free) const;
  // Each sequence is in one place; the ordered ones are in order; those that decode are past their
  // prompts; a tenant's sequences wait or have a slot. At the end of every public method that
  // changes something; O(sequences).
  void CheckInvariants() const;
  // The batch keeps the row budget and Model::Launch's order, with no sequence twice.
  void CheckBatch() const;

  const int32_t max_rows_;
  const int32_t chunk_;
  Tenants tenants_;
  AbsentTenants absent_;
  double step_seconds_ = 0.0;                                  // of all steps so far, as expected
  absl::flat_hash_map<const Tenants::Entry*, Queue> waiting_;  // none is empty
  Queue prompts_;                      // with a slot, prompt not computed yet
  std::vector<Sequence*> decoding_;    // the one that has waited longest for a row first
  std::vector<Allotment> allotments_;  // of the batch being made
  absl::flat_hash_map<const Tenants::Entry*, size_t> allotment_of_;
  std::vector<ScheduledRows> batch_;
  int32_t rows_free_ = 0;  // of the batch being made
};

}  // namespace retnet

#endif  // RETNET_ENGINE_SCHEDULING_SCHEDULER_H_
