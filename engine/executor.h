// Runs sequences on a model, step by step, on whatever thread calls it.
#ifndef RETNET_ENGINE_EXECUTOR_H_
#define RETNET_ENGINE_EXECUTOR_H_

#include <cstdint>
#include <memory>
#include <set>
#include <span>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/time/time.h"
#include "engine/scheduler.h"
#include "engine/sequence.h"
#include "engine/slot_pool.h"
#include "engine/stats.h"
#include "engine/step_cost.h"
#include "models/model.h"

namespace retnet {

// Owns the model, the scheduler, the slots and the sequences. Nothing here calls a sink but
// Deliver, so that the owner can make public what has happened before anybody is told.
// Thread-compatible.
class Executor {
 public:
  // Steps of at most `max_rows` rows; those that hold decoding sequences have prompts beside them
  // as far as StepCost::PromptRows allows for `max_step`.
  Executor(std::unique_ptr<Model> model, int32_t max_rows, absl::Duration max_step);

  void Admit(std::unique_ptr<Sequence> sequence);
  // Ends a sequence as CANCELLED; no effect when it has ended.
  void Cancel(RequestId id);
  void EndAll(const absl::Status& status);
  // Ends the sequences whose deadline has come, then gives free slots to those that wait.
  void Prepare(absl::Time now);
  // One step over the sequences that have a slot; none, no step. An error is the model's; it is
  // final, and every later call returns it.
  absl::Status Step();
  // Tells the sinks of answers and ends since the last call.
  void Deliver();

  // No sequence is left.
  bool idle() const { return sequences_.empty(); }
  // Counts what Executor knows of; the rest is 0.
  EngineStats stats() const;

 private:
  absl::Status RunStep();
  absl::Status RunModel();
  void Compose(std::span<const Piece> batch);
  absl::Status AcceptAnswers(std::span<const Piece> batch);
  void Retire(Sequence* sequence);

  const std::unique_ptr<Model> model_;
  absl::Status model_status_;
  const absl::Duration max_step_;
  Scheduler scheduler_;
  StepCost step_cost_;
  SlotPool slots_;
  absl::flat_hash_map<RequestId, std::unique_ptr<Sequence>> sequences_;
  std::set<std::pair<absl::Time, RequestId>> deadlines_;  // of those that have one
  EngineStats counters_;

  // The step; sized at start.
  std::vector<Segment> segments_;
  std::vector<RowOutput> outputs_;
  StepResult result_;

  // News. The sequences of both stay alive until they are delivered.
  std::vector<std::pair<Sequence*, std::span<const LogitsAnswer>>> answered_;
  std::vector<std::unique_ptr<Sequence>> ended_;
};

}  // namespace retnet

#endif  // RETNET_ENGINE_EXECUTOR_H_
