#include "engine/scheduling/scheduler.h"

#include <algorithm>

#include "absl/container/flat_hash_set.h"
#include "kernels/dcheck.h"

namespace retnet {
namespace {

// One row in so many is kept for prompts.
constexpr int32_t kPromptShare = 8;

bool ByNeed(const Sequence* a, const Sequence* b) {
  if (a->priority() != b->priority()) return a->priority() > b->priority();
  if (a->rows_left() != b->rows_left()) return a->rows_left() < b->rows_left();
  return a->id() < b->id();
}

}  // namespace

Scheduler::Scheduler(int32_t max_rows, int32_t chunk) : max_rows_(max_rows), chunk_(chunk) {}

void Scheduler::Enqueue(Sequence* sequence) {
  waiting_.insert(sequence);
  CheckInvariants();
}

Sequence* Scheduler::NextWaiting() const { return waiting_.empty() ? nullptr : *waiting_.begin(); }

void Scheduler::Add(Sequence* sequence) {
  prompts_.insert(sequence);
  CheckInvariants();
}

void Scheduler::Remove(Sequence* sequence) {
  if (waiting_.erase(sequence) + prompts_.erase(sequence) == 0) std::erase(decoding_, sequence);
  CheckInvariants();
}

std::span<const ScheduledRows> Scheduler::NextBatch(PromptBudget prompt_budget) {
  batch_.clear();
  rows_free_ = max_rows_;
  for (auto it = prompts_.begin(); it != prompts_.end();) {
    if ((*it)->decoding()) {
      decoding_.push_back(*it);
      it = prompts_.erase(it);
    } else {
      ++it;
    }
  }
  AddDecodingRows();
  if (!batch_.empty()) {
    rows_free_ = std::min(rows_free_, prompt_budget(max_rows_ - rows_free_));
  }
  AddPromptRows();
  // As Model::Launch asks; a history that is computed again has sampled tokens among the given.
  std::stable_partition(batch_.begin(), batch_.end(), [](const ScheduledRows& piece) {
    return piece.sequence->row_class() == RowClass::kSampled;
  });
  CheckInvariants();
  CheckBatch();
  return batch_;
}

bool Scheduler::may_go_on() const {
  const auto awaits_step = [](const Sequence* sequence) { return sequence->awaits_step(); };
  return std::none_of(prompts_.begin(), prompts_.end(), awaits_step) &&
         std::none_of(decoding_.begin(), decoding_.end(), awaits_step);
}

void Scheduler::AddDecodingRows() {
  const int32_t kept =
      prompts_.empty() ? 0 : std::min(std::max(1, max_rows_ / kPromptShare), max_rows_ - 1);
  const auto ending =
      std::stable_partition(decoding_.begin(), decoding_.end(),
                            [](const Sequence* sequence) { return !sequence->ends_in_flight(); });
  const auto count = std::min<ptrdiff_t>(ending - decoding_.begin(), rows_free_ - kept);
  for (ptrdiff_t i = 0; i < count; ++i) {
    // A guess must not fold the chunk, which could not be taken back.
    const int32_t to_fold = chunk_ - decoding_[i]->scheduled_tokens() % chunk_;
    const auto others = static_cast<int32_t>(count - i - 1);
    AddPiece(decoding_[i], decoding_[i]->Draft(std::min(to_fold, rows_free_ - kept - others) - 1));
  }
  std::rotate(decoding_.begin(), decoding_.begin() + count, ending);
}

void Scheduler::AddPromptRows() {
  if (prompts_.empty()) return;
  by_need_.assign(prompts_.begin(), prompts_.end());
  std::sort(by_need_.begin(), by_need_.end(), ByNeed);
  Sequence* first = *prompts_.begin();
  int32_t kept = std::min(first->rows_left(), rows_free_ - rows_free_ / 2);
  for (Sequence* sequence : by_need_) {
    if (sequence == first) kept = 0;
    if (rows_free_ > kept && !sequence->ends_in_flight()) {
      AddPiece(sequence, PieceRows(*sequence, rows_free_ - kept));
    }
  }
}

void Scheduler::AddPiece(Sequence* sequence, int32_t rows) {
  batch_.push_back({.sequence = sequence, .rows = rows});
  rows_free_ -= rows;
}

int32_t Scheduler::PieceRows(const Sequence& sequence, int32_t rows_free) const {
  if (sequence.piece_rows() <= rows_free) return sequence.piece_rows();
  const int32_t to_boundary = rows_free - (sequence.scheduled_tokens() + rows_free) % chunk_;
  return 2 * to_boundary >= rows_free ? to_boundary : rows_free;
}

void Scheduler::CheckInvariants() const {
  if (!kDchecks) return;
  absl::flat_hash_set<const Sequence*> found;
  for (const auto* ordered : {&waiting_, &prompts_}) {
    const Sequence* before = nullptr;
    for (const Sequence* sequence : *ordered) {
      RETNET_DCHECK(before == nullptr || ByRank()(before, sequence));
      RETNET_DCHECK(found.insert(sequence).second);
      before = sequence;
    }
  }
  for (const Sequence* sequence : decoding_) {
    RETNET_DCHECK(found.insert(sequence).second);
    RETNET_DCHECK(sequence->decoding());
  }
}

void Scheduler::CheckBatch() const {
  if (!kDchecks) return;
  absl::flat_hash_set<const Sequence*> found;
  int32_t rows = 0;
  bool prompts = false;
  for (const ScheduledRows& piece : batch_) {
    RETNET_DCHECK(piece.rows >= 1);
    RETNET_DCHECK(found.insert(piece.sequence).second);
    prompts = prompts || piece.sequence->row_class() == RowClass::kPrompt;
    RETNET_DCHECK(!prompts || piece.sequence->row_class() == RowClass::kPrompt);
    rows += piece.rows;
  }
  RETNET_DCHECK(rows <= max_rows_);
}

}  // namespace retnet
