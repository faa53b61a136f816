#include "engine/executor.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "kernels/status_macros.h"

namespace retnet {

Executor::Executor(std::unique_ptr<Model> model, const ExecutorOptions& options,
                   std::function<void(std::function<void()>)> post)
    : model_(std::move(model)),
      max_step_(options.max_step),
      post_(std::move(post)),
      scheduler_(options.max_rows, model_->info().chunk),
      keeper_(model_.get(), options.states, [this] { post_([] {}); }),
      sessions_(options.sessions, &keeper_, this) {
  segments_.reserve(std::min(options.max_rows, model_->info().slots));
  outputs_.reserve(options.max_rows);
}

void Executor::Admit(std::unique_ptr<Sequence> sequence, absl::Time now) {
  Sequence* admitted = sequence.get();
  sequences_.emplace(admitted->id(), std::move(sequence));
  if (admitted->deadline() < absl::InfiniteFuture()) {
    deadlines_.emplace(admitted->deadline(), admitted->id());
  }
  sessions_.Attach(admitted, now);
}

void Executor::Close() {
  sessions_.Close();
  keeper_.resting().AwaitTransfers();
}

void Executor::Ready(Sequence* sequence) {
  if (sequence->finished()) return Retire(sequence);
  if (keeper_.Plan(sequence)) scheduler_.Enqueue(sequence);
}

void Executor::Fail(Sequence* sequence, absl::Status status) {
  sequence->End(std::move(status), absl::Now());
  Retire(sequence);
}

Sequence* Executor::Find(RequestId id) {
  const auto entry = sequences_.find(id);
  return entry == sequences_.end() ? nullptr : entry->second.get();
}

void Executor::Cancel(RequestId id) {
  if (Sequence* sequence = Find(id); sequence != nullptr) {
    Fail(sequence, absl::CancelledError("the request was cancelled"));
  }
}

void Executor::Stop(RequestId id) {
  Sequence* sequence = Find(id);
  if (sequence != nullptr && !sequence->StopWhenContinued()) Fail(sequence, absl::OkStatus());
}

void Executor::EndAll(const absl::Status& status) {
  while (!sequences_.empty()) Fail(sequences_.begin()->second.get(), status);
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
  keeper_.resting().Poll();
  GiveSlots();
}

absl::Time Executor::next_event() const {
  return std::min(sessions_.next_expiry(),
                  deadlines_.empty() ? absl::InfiniteFuture() : deadlines_.begin()->first);
}

void Executor::GiveSlots() {
  slots_may_be_free_ = false;
  const absl::Duration prefill_row = step_cost_.PromptRow();
  for (Sequence* sequence : std::exchange(filling_, {})) {
    if (keeper_.ready(*sequence)) {
      scheduler_.Add(sequence);
    } else {
      filling_.push_back(sequence);
    }
  }
  while (true) {
    for (Sequence* sequence : keeper_.TakeReleased()) scheduler_.Enqueue(sequence);
    if (scheduler_.waiting() == 0) break;
    Sequence* sequence = scheduler_.NextWaiting();
    if (!keeper_.Resume(sequence, prefill_row)) break;
    scheduler_.Remove(sequence);
    if (sequence->finished()) {
      Retire(sequence);
    } else if (keeper_.ready(*sequence)) {
      scheduler_.Add(sequence);
    } else {
      filling_.push_back(sequence);
    }
  }
  model_status_.Update(keeper_.resting().status());
}

absl::Status Executor::Step() {
  if (model_status_.ok()) model_status_ = RunStep();
  return model_status_;
}

// The seam allows a second step in flight; a backend that gains from it is launched ahead here.
absl::Status Executor::RunStep() {
  const std::span<const Piece> batch = scheduler_.NextBatch(
      [this](int32_t decoding) { return step_cost_.PromptRows(decoding, max_step_); });
  if (batch.empty()) return absl::OkStatus();
  Compose(batch);
  RETURN_IF_ERROR(RunModel());
  return AcceptAnswers(batch);
}

absl::Status Executor::RunModel() {
  int32_t decoding = 0;
  int32_t prompt = 0;
  for (const Segment& segment : segments_) {
    const auto rows = static_cast<int32_t>(segment.tokens.size());
    (segment.row_class == RowClass::kSampled ? decoding : prompt) += rows;
  }
  const absl::Time start = absl::Now();
  RETURN_IF_ERROR(model_->Launch(segments_));
  RETURN_IF_ERROR(model_->Wait(&result_));
  step_cost_.Observe(decoding, prompt, absl::Now() - start);
  return absl::OkStatus();
}

void Executor::Compose(std::span<const Piece> batch) {
  const absl::Time now = absl::Now();
  segments_.clear();
  outputs_.clear();
  for (const Piece& piece : batch) {
    piece.sequence->MarkStarted(now);
    segments_.push_back(piece.sequence->NextSegment(piece.rows, &outputs_));
  }
}

absl::Status Executor::AcceptAnswers(std::span<const Piece> batch) {
  if (result_.answers.size() != outputs_.size()) {
    return absl::InternalError(absl::StrCat("the model gave ", result_.answers.size(), " answers; ",
                                            outputs_.size(), " were asked for"));
  }
  const absl::Time now = absl::Now();
  ++counters_.steps;
  std::span<const LogitsAnswer> left = result_.answers;
  for (size_t i = 0; i < batch.size(); ++i) {
    const auto& [sequence, rows] = batch[i];
    const auto given = left.first(segments_[i].outputs.size());
    left = left.subspan(given.size());
    if (segments_[i].row_class == RowClass::kGiven) counters_.prompt_tokens += rows;
    const auto answers = given.first(sequence->Accept(rows, given, now));
    if (sequence->kind() == RequestKind::kGenerate) counters_.generated_tokens += answers.size();
    if (!answers.empty()) answered_.emplace_back(sequence, answers);
    if (sequence->position() < segments_[i].position + rows) {  // wrong guesses are taken back
      RETURN_IF_ERROR(model_->Truncate(sequence->slot(), sequence->position()));
    }
    keeper_.PieceEnded(sequence, segments_[i].position);
    if (sequence->finished()) Retire(sequence);
  }
  model_status_.Update(keeper_.resting().status());
  return model_status_;
}

void Executor::Retire(Sequence* sequence) {
  scheduler_.Remove(sequence);
  deadlines_.erase({sequence->deadline(), sequence->id()});
  std::erase(filling_, sequence);
  slots_may_be_free_ = true;
  ++counters_.requests_finished;
  const auto entry = sequences_.find(sequence->id());
  ended_.push_back(std::move(entry->second));
  sequences_.erase(entry);
  sessions_.Detach(sequence, absl::Now());
}

void Executor::Deliver() {
  for (const auto& [sequence, answers] : answered_) sequence->sink().Answers(answers);
  answered_.clear();
  for (const auto& sequence : ended_) sequence->sink().Done(sequence->completion());
  ended_.clear();
}

EngineStats Executor::stats() const {
  EngineStats stats = counters_;
  stats.waiting = scheduler_.waiting();
  stats.running = scheduler_.running() + static_cast<int32_t>(filling_.size());
  const RestingStates& resting = keeper_.resting();
  stats.free_slots = resting.free_slots() + resting.resting_slots();
  stats.resting_slots = resting.resting_slots();
  stats.host_state_bytes = resting.host_bytes();
  stats.evictions = resting.evictions();
  stats.sessions = sessions_.count();
  stats.cached_prefixes = keeper_.cached_prefixes();
  stats.cached_prefix_bytes = resting.cached_bytes();
  stats.cache_hits = keeper_.cache_hits();
  stats.cache_misses = keeper_.cache_misses();
  return stats;
}

}  // namespace retnet
