#include "engine/executor.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "kernels/status_macros.h"

namespace retnet {

Executor::Executor(std::unique_ptr<Model> model, int32_t max_rows, absl::Duration max_step)
    : model_(std::move(model)),
      max_step_(max_step),
      scheduler_(max_rows, model_->info().chunk),
      slots_(model_->info().slots) {
  segments_.reserve(std::min(max_rows, model_->info().slots));
  outputs_.reserve(max_rows);
}

void Executor::Admit(std::unique_ptr<Sequence> sequence) {
  Sequence* admitted = sequence.get();
  sequences_.emplace(admitted->id(), std::move(sequence));
  scheduler_.Enqueue(admitted);
  if (admitted->deadline() < absl::InfiniteFuture()) {
    deadlines_.emplace(admitted->deadline(), admitted->id());
  }
  if (admitted->finished()) Retire(admitted);
}

void Executor::Cancel(RequestId id) {
  const auto entry = sequences_.find(id);
  if (entry == sequences_.end()) return;
  Sequence* sequence = entry->second.get();
  sequence->End(absl::CancelledError("the request was cancelled"), absl::Now());
  Retire(sequence);
}

void Executor::EndAll(const absl::Status& status) {
  const absl::Time now = absl::Now();
  while (!sequences_.empty()) {
    Sequence* sequence = sequences_.begin()->second.get();
    sequence->End(status, now);
    Retire(sequence);
  }
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
  while (slots_.free() > 0 && scheduler_.waiting() > 0) {
    Sequence* sequence = scheduler_.NextWaiting();
    sequence->set_slot(slots_.Take());
    scheduler_.Start(sequence);
  }
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
    const auto answers = left.first(segments_[i].outputs.size());
    left = left.subspan(answers.size());
    if (segments_[i].row_class == RowClass::kGiven) counters_.prompt_tokens += rows;
    if (sequence->kind() == RequestKind::kGenerate) counters_.generated_tokens += answers.size();
    sequence->Accept(rows, answers, now);
    if (!answers.empty()) answered_.emplace_back(sequence, answers);
    if (sequence->finished()) Retire(sequence);
  }
  return model_status_;
}

void Executor::Retire(Sequence* sequence) {
  scheduler_.Remove(sequence);
  deadlines_.erase({sequence->deadline(), sequence->id()});
  if (sequence->slot() != kNoSlot) {
    if (model_status_.ok()) model_status_ = model_->Clear(sequence->slot());
    slots_.Release(sequence->slot());
    sequence->set_slot(kNoSlot);
  }
  ++counters_.requests_finished;
  const auto entry = sequences_.find(sequence->id());
  ended_.push_back(std::move(entry->second));
  sequences_.erase(entry);
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
  stats.running = scheduler_.running();
  stats.free_slots = slots_.free();
  return stats;
}

}  // namespace retnet
