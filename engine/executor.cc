#include "engine/executor.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "kernels/dcheck.h"
#include "kernels/status_macros.h"

namespace retnet {
namespace {

int32_t MaxRows(const ExecutorOptions& options, const ModelInfo& info) {
  return options.max_rows > 0 ? std::min(options.max_rows, info.max_rows) : info.max_rows;
}

}  // namespace

Executor::Executor(std::unique_ptr<Model> model, const ExecutorOptions& options, SnapshotIo* store,
                   Sessions::Post post, StoreListener listener)
    : model_(std::move(model)),
      max_step_(options.max_step),
      scheduler_(MaxRows(options, model_->info()), model_->info().chunk),
      state_cache_(model_.get(), options.state_cache, [post] { post([] {}); }),
      state_manager_(model_.get(), &state_cache_, options.state_manager),
      sessions_(options.sessions, store, &state_cache_, post, std::move(listener)) {
  const int32_t max_rows = MaxRows(options, model_->info());
  segments_.reserve(std::min(max_rows, model_->info().slots));
  outputs_.reserve(max_rows);
}

void Executor::Admit(std::unique_ptr<Sequence> sequence) {
  Sequence* admitted = sequence.get();
  sequences_.emplace(admitted->id(), std::move(sequence));
  if (admitted->deadline() < absl::InfiniteFuture()) {
    deadlines_.emplace(admitted->deadline(), admitted->id());
  }
  if (!admitted->has_session()) return Queue(admitted);
  sessions_.Attach(admitted);
  TakeSessionOutcomes();
}

void Executor::Close() {
  sessions_.Close();
  state_cache_.AwaitTransfers();
  state_manager_.ClearCache();
}

void Executor::Queue(Sequence* sequence) {
  if (sequence->finished()) return Retire(sequence);
  if (state_manager_.Plan(sequence)) scheduler_.Enqueue(sequence);
}

void Executor::TakeSessionOutcomes() {
  while (std::optional<Sessions::Outcome> outcome = sessions_.NextOutcome()) {
    if (outcome->status.ok()) {
      Queue(outcome->sequence);
    } else {
      End(outcome->sequence, std::move(outcome->status));
    }
  }
}

void Executor::End(Sequence* sequence, absl::Status status) {
  sequence->End(std::move(status), absl::Now());
  Retire(sequence);
}

Sequence* Executor::Find(RequestId id) {
  const auto entry = sequences_.find(id);
  return entry == sequences_.end() ? nullptr : entry->second.get();
}

void Executor::Cancel(RequestId id) {
  if (Sequence* sequence = Find(id); sequence != nullptr) {
    End(sequence, absl::CancelledError("the request was cancelled"));
  }
}

void Executor::Stop(RequestId id) {
  Sequence* sequence = Find(id);
  if (sequence != nullptr && !sequence->StopWhenContinued()) End(sequence, absl::OkStatus());
}

void Executor::EndAll(const absl::Status& status) {
  while (!sequences_.empty()) End(sequences_.begin()->second.get(), status);
  CheckInvariants();
}

void Executor::Prepare(absl::Time now) {
  while (!deadlines_.empty() && deadlines_.begin()->first <= now) {
    Sequence* sequence = sequences_.find(deadlines_.begin()->second)->second.get();
    sequence->End(
        absl::DeadlineExceededError(sequence->slot() == kNoSlot
                                        ? "the deadline passed while the request waited for a slot"
                                        : "the deadline passed while the request was running"),
        now);
    Retire(sequence);
  }
  sessions_.Expire(now);
  sessions_.RunTimers(now);
  state_cache_.Poll();
  GiveSlots();
  CheckInvariants();
}

absl::Time Executor::next_event() const {
  return std::min({sessions_.next_expiry(), sessions_.next_timer(),
                   deadlines_.empty() ? absl::InfiniteFuture() : deadlines_.begin()->first});
}

void Executor::GiveSlots() {
  slots_may_be_free_ = false;
  const absl::Duration prefill_row = step_cost_.PromptRow();
  for (Sequence* sequence : std::exchange(filling_, {})) {
    if (state_manager_.ready(*sequence)) {
      scheduler_.Add(sequence);
    } else {
      filling_.push_back(sequence);
    }
  }
  while (true) {
    TakeSessionOutcomes();
    for (Sequence* sequence : state_manager_.TakeReleased()) scheduler_.Enqueue(sequence);
    if (scheduler_.waiting() == 0) break;
    Sequence* sequence = scheduler_.NextWaiting();
    if (!state_manager_.AssignSlot(sequence, prefill_row)) {
      if (!PreemptFor(*sequence)) break;
      continue;
    }
    scheduler_.TakeSlot(sequence);
    if (sequence->finished()) {
      Retire(sequence);
    } else if (state_manager_.ready(*sequence)) {
      scheduler_.Add(sequence);
    } else {
      filling_.push_back(sequence);
    }
  }
  state_cache_.KeepSpareSlot();
  model_status_.Update(state_cache_.status());
}

// One slot is emptied at a time: where its state is still leaving, the next turn goes on.
bool Executor::PreemptFor(const Sequence& waiting) {
  if (state_cache_.leaving()) return false;
  Sequence* sequence = scheduler_.PreemptableFor(waiting);
  if (sequence == nullptr || !state_manager_.Preempt(sequence)) return false;
  scheduler_.GiveUpSlot(sequence);
  ++counters_.preemptions;
  return state_cache_.free_slots() > 0;
}

void Executor::ShortenQueue(int32_t most) {
  while (scheduler_.waiting() > most) {
    Sequence* last = scheduler_.LastOfLongestQueue();
    if (last == nullptr) return;
    End(last, absl::ResourceExhaustedError(absl::StrCat(
                  "the queue is full: max_queue = ", most,
                  " requests wait, and others have less than their share of it; try again later")));
  }
}

absl::Status Executor::Step() {
  if (model_status_.ok()) model_status_ = RunStep();
  if (!model_status_.ok()) in_flight_ = 0;  // nothing comes of them
  TakeSessionOutcomes();                    // of those whose session has become free
  CheckInvariants();
  return model_status_;
}

// A step ahead is composed by what the one before it will have done, so that the device does not
// wait for the host between them.
absl::Status Executor::RunStep() {
  if (in_flight_ == 0) RETURN_IF_ERROR(LaunchNext());
  if (in_flight_ == 1 && model_->info().steps_in_flight > 1 && scheduler_.may_go_on()) {
    RETURN_IF_ERROR(LaunchNext());
    if (in_flight_ > 1) ++counters_.steps_ahead;
  }
  if (in_flight_ == 0) return absl::OkStatus();
  RETURN_IF_ERROR(model_->Wait(&result_));
  ObserveCost(steps_.front());
  RETURN_IF_ERROR(AcceptResults(steps_.front()));
  std::swap(steps_.front(), steps_.back());
  --in_flight_;
  return absl::OkStatus();
}

absl::Status Executor::LaunchNext() {
  const std::span<const ScheduledRows> batch = scheduler_.NextBatch(
      [this](int32_t decoding) { return step_cost_.PromptRows(decoding, max_step_); },
      step_cost_.times());
  if (batch.empty()) return absl::OkStatus();
  LaunchedStep& step = steps_[in_flight_++];
  Compose(batch, &step);
  return model_->Launch(segments_);
}

void Executor::Compose(std::span<const ScheduledRows> batch, LaunchedStep* step) {
  segments_.clear();
  outputs_.clear();
  step->pieces.clear();
  step->start = absl::Now();
  for (const auto& [sequence, rows] : batch) {
    sequence->MarkStarted(step->start);
    const Segment& segment = segments_.emplace_back(sequence->NextSegment(rows, &outputs_));
    step->pieces.push_back({.sequence = sequence,
                            .position = segment.position,
                            .rows = rows,
                            .outputs = segment.outputs.size(),
                            .row_class = segment.row_class});
  }
  step->outputs = outputs_.size();
}

// One that was launched ahead begins when the one before it is over.
void Executor::ObserveCost(const LaunchedStep& step) {
  int32_t decoding = 0;
  int32_t prompt = 0;
  for (const LaunchedPiece& piece : step.pieces) {
    (piece.row_class == RowClass::kSampled ? decoding : prompt) += piece.rows;
  }
  const absl::Time now = absl::Now();
  step_cost_.Observe(decoding, prompt, now - std::max(step.start, last_step_end_));
  last_step_end_ = now;
}

absl::Status Executor::AcceptResults(const LaunchedStep& step) {
  if (result_.results.size() != step.outputs) {
    return absl::InternalError(absl::StrCat("the model gave ", result_.results.size(), " results; ",
                                            step.outputs, " were asked for"));
  }
  const absl::Time now = absl::Now();
  ++counters_.steps;
  std::span<const SampleResult> left = result_.results;
  for (const LaunchedPiece& piece : step.pieces) {
    if (piece.sequence != nullptr) {
      RETURN_IF_ERROR(AcceptPiece(piece, left.first(piece.outputs), now));
    }
    left = left.subspan(piece.outputs);
  }
  model_status_.Update(state_cache_.status());
  return model_status_;
}

absl::Status Executor::AcceptPiece(const LaunchedPiece& piece,
                                   std::span<const SampleResult> results, absl::Time now) {
  const auto& [sequence, position, rows, outputs, row_class] = piece;
  if (row_class == RowClass::kPrompt) counters_.prompt_tokens += rows;
  results = results.first(sequence->Accept(rows, results, now));
  if (sequence->kind() == RequestKind::kGenerate) counters_.generated_tokens += results.size();
  if (!results.empty()) answered_.emplace_back(sequence, results);
  // Wrong guesses are taken back. Of a state that is not sound nothing is kept.
  if (sequence->computed_tokens() < position + rows && sequence->state_is_sound()) {
    RETURN_IF_ERROR(model_->Truncate(sequence->slot(), sequence->computed_tokens()));
  }
  state_manager_.PieceEnded(sequence, position);
  if (sequence->finished()) Retire(sequence);
  return absl::OkStatus();
}

void Executor::Retire(Sequence* sequence) {
  for (LaunchedStep& step : steps_) {
    for (LaunchedPiece& piece : step.pieces) {
      if (piece.sequence == sequence) piece.sequence = nullptr;
    }
  }
  sequence->CountInFlightAsComputed();
  scheduler_.Remove(sequence);
  deadlines_.erase({sequence->deadline(), sequence->id()});
  std::erase(filling_, sequence);
  slots_may_be_free_ = true;
  ++counters_.requests_finished;
  counters_.drafted_tokens += sequence->completion().usage.drafted_tokens;
  counters_.accepted_tokens += sequence->completion().usage.accepted_tokens;
  const auto entry = sequences_.find(sequence->id());
  ended_.push_back(std::move(entry->second));
  sequences_.erase(entry);
  if (!sequence->has_session()) {
    state_manager_.Retire(sequence, /*keep=*/false);
    return;
  }
  StatePrefix state = state_manager_.Retire(sequence, sessions_.WillKeepStateOf(*sequence));
  sessions_.Detach(sequence, std::move(state), absl::Now());
}

void Executor::CheckInvariants() const {
  if (!kDchecks) return;
  std::vector<bool> found(model_->info().slots);
  int32_t with_slot = 0;
  for (const auto& [id, sequence] : sequences_) {
    if (sequence->slot() == kNoSlot) continue;
    ++with_slot;
    RETNET_DCHECK(!found[sequence->slot()]);
    found[sequence->slot()] = true;
  }
  RETNET_DCHECK(with_slot == state_cache_.running_slots());
  RETNET_DCHECK(with_slot == scheduler_.running() + static_cast<int32_t>(filling_.size()));
}

void Executor::ForEachEnded(absl::FunctionRef<void(const Tenant&)> visit) const {
  for (const auto& sequence : ended_) visit(sequence->request().tenant);
}

void Executor::Deliver() {
  for (const auto& [sequence, results] : answered_) sequence->sink().OnTokens(results);
  answered_.clear();
  for (const auto& sequence : ended_) sequence->sink().OnFinish(sequence->completion());
  ended_.clear();
}

EngineStats Executor::stats() const {
  EngineStats stats = counters_;
  stats.waiting = scheduler_.waiting();
  stats.running = scheduler_.running() + static_cast<int32_t>(filling_.size());
  stats.free_slots = state_cache_.free_slots() + state_cache_.parked_slots();
  stats.parked_slots = state_cache_.parked_slots();
  stats.host_state_bytes = state_cache_.host_bytes();
  stats.pinned_bytes = state_cache_.pinned_bytes();
  stats.evictions = state_cache_.evictions();
  stats.sessions = sessions_.count();
  stats.sessions_not_stored = sessions_.health().not_stored();
  stats.sessions_lost = sessions_.health().lost();
  stats.store_readable = sessions_.health().readable();
  stats.store_writable = sessions_.health().writable();
  stats.cached_prefixes = state_manager_.cached_prefixes();
  stats.cached_prefix_bytes = state_cache_.cached_bytes();
  stats.cache_hits = state_manager_.cache_hits();
  stats.cache_misses = state_manager_.cache_misses();
  return stats;
}

}  // namespace retnet
