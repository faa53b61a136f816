// Runs sequences on a model, step by step, on whatever thread calls it.
#ifndef RETNET_ENGINE_EXECUTOR_H_
#define RETNET_ENGINE_EXECUTOR_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <set>
#include <span>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/time/time.h"
#include "engine/options.h"
#include "engine/scheduling/scheduler.h"
#include "engine/scheduling/sequence.h"
#include "engine/scheduling/state_manager.h"
#include "engine/scheduling/step_cost.h"
#include "engine/sessions/sessions.h"
#include "engine/snapshots/snapshot_io.h"
#include "engine/states/state_cache.h"
#include "engine/stats.h"
#include "models/model.h"

namespace retnet {

// Owns the model, the states, the sessions, the scheduler and the sequences, and calls all of them;
// none of them calls it. Deliver alone calls sinks, so that the owner can publish what has happened
// before anybody is told. Thread-compatible.
//
// The way of a sequence: Admit, then (with a session) Sessions until its turn comes, then the
// Scheduler's queue until it has a slot, then filling_ until the slot's state is there, then the
// Scheduler's steps until it has finished, then Retire. From the steps it may go back to the queue,
// when another tenant is to have its slot.
class Executor {
 public:
  // `store` keeps the sessions; null: none. It must live until Close has returned. `post` runs a
  // task on the thread that drives the executor, later. It is called from any thread, also while
  // the executor is destroyed.
  Executor(std::unique_ptr<Model> model, const ExecutorOptions& options, SnapshotIo* store,
           Sessions::Post post, StoreListener listener = nullptr);

  // Takes a new sequence, which waits for its session or for a slot from now on.
  void Admit(std::unique_ptr<Sequence> sequence);
  // Ends a sequence as CANCELLED. No effect if it has ended.
  void Cancel(RequestId id);
  // Ends a sequence as OK with the tokens it has. No effect if it has ended.
  void Stop(RequestId id);
  void EndAll(const absl::Status& status);
  // Ends the sequences whose deadline has come and forgets sessions that have expired, then gives
  // slots to those that wait.
  void Prepare(absl::Time now);
  // Nothing can be computed before a transfer ends, a task is posted or `next_event` has come.
  bool stalled() const {
    return scheduler_.running() == 0 && !slots_may_be_free_ && in_flight_ == 0;
  }
  absl::Time next_event() const;
  // Ends sequences that have not begun, of the tenants that have the most waiting, as
  // RESOURCE_EXHAUSTED until at most `most` wait.
  void ShortenQueue(int32_t most);
  // Completes one step over the sequences that have a slot, if there are any. If the model gains
  // from it, the next step is launched first and stays in flight between calls. An error comes from
  // the model. It is final: every later call returns it.
  absl::Status Step();
  // Calls `visit` with the tenant of each sequence that has ended since the last Deliver.
  void ForEachEnded(absl::FunctionRef<void(const Tenant&)> visit) const;
  // Calls the sinks with the results and ends since the last call.
  void Deliver();

  // No sequence is left.
  bool idle() const { return sequences_.empty(); }
  // For the clients' calls on sessions (Create to Import) and WriteAll.
  Sessions& sessions() { return sessions_; }
  // Before it is destroyed: calls on sessions that wait are answered, what is to be written is
  // given to the store, and no prefix is cached any more. A slot or a byte that is then held is a
  // session's or a sequence's.
  void Close();
  bool transferring() const { return state_cache_.transferring(); }
  // The fields that Executor counts; the others are 0.
  EngineStats stats() const;

 private:
  // What must be known of a segment when its step ends.
  struct LaunchedPiece {
    Sequence* sequence = nullptr;  // null: it has ended meanwhile
    int32_t position = 0;          // of the first row
    int32_t rows = 0;
    size_t outputs = 0;
    RowClass row_class = RowClass::kPrompt;
  };
  struct LaunchedStep {
    std::vector<LaunchedPiece> pieces;
    size_t outputs = 0;
    absl::Time start;
  };

  Sequence* Find(RequestId id);  // null: it has ended
  // Plans and queues a sequence that has its whole history.
  void Queue(Sequence* sequence);
  // Queues the sequences whose session is theirs now, and ends those that will not get it.
  void TakeSessionOutcomes();
  void GiveSlots();
  // Takes a slot from a tenant that has more than its share, for the one that waits. False: nobody
  // is to give way, or could.
  bool PreemptFor(const Sequence& waiting);
  absl::Status RunStep();
  absl::Status LaunchNext();
  void Compose(std::span<const ScheduledRows> batch, LaunchedStep* step);
  void ObserveCost(const LaunchedStep& step);
  absl::Status AcceptResults(const LaunchedStep& step);
  absl::Status AcceptPiece(const LaunchedPiece& piece, std::span<const SampleResult> results,
                           absl::Time now);
  void End(Sequence* sequence, absl::Status status);
  // Takes a finished sequence out of everything; Deliver tells its sink.
  void Retire(Sequence* sequence);
  // The slots that the states gave out are those of the sequences: each has one of its own, and is
  // filling or in the scheduler's steps. At the end of Prepare, Step and EndAll; O(sequences).
  void CheckInvariants() const;

  const std::unique_ptr<Model> model_;
  absl::Status model_status_;
  const absl::Duration max_step_;
  Scheduler scheduler_;
  StepCost step_cost_;
  StateCache state_cache_;  // outlives all that holds references to its states
  StateManager state_manager_;
  Sessions sessions_;
  bool slots_may_be_free_ = false;  // something has ended since GiveSlots
  std::vector<Sequence*> filling_;  // that have a slot whose state is on its way
  absl::flat_hash_map<RequestId, std::unique_ptr<Sequence>> sequences_;
  std::set<std::pair<absl::Time, RequestId>> deadlines_;  // of those that have one
  EngineStats counters_;

  // The step being composed; sized at start.
  std::vector<Segment> segments_;
  std::vector<RowOutput> outputs_;

  // Steps in flight, the oldest first.
  std::array<LaunchedStep, 2> steps_;
  int32_t in_flight_ = 0;
  absl::Time last_step_end_ = absl::InfinitePast();
  StepResult result_;

  // Not delivered yet. The sequences of both stay alive until Deliver.
  std::vector<std::pair<Sequence*, std::span<const SampleResult>>> answered_;
  std::vector<std::unique_ptr<Sequence>> ended_;
};

}  // namespace retnet

#endif  // RETNET_ENGINE_EXECUTOR_H_
