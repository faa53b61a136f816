#include "engine/scheduling/scheduler.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "absl/container/flat_hash_set.h"
#include "kernels/dcheck.h"

namespace retnet {
namespace {

// One row in so many is kept for prompts.
constexpr int32_t kPromptShare = 8;

// Step time, in seconds over its weight, that a tenant with slots may be ahead of one without.
constexpr double kTurn = 0.25;
// What a row counts for as long as nothing is known of its time, in seconds.
constexpr double kUnknownRow = 1e-4;

bool ByNeed(const Sequence* a, const Sequence* b) {
  if (a->priority() != b->priority()) return a->priority() > b->priority();
  const bool a_scores = a->kind() == RequestKind::kScore;
  const bool b_scores = b->kind() == RequestKind::kScore;
  if (a_scores != b_scores) return b_scores;
  if (a->rows_left() != b->rows_left()) return a->rows_left() < b->rows_left();
  return a->id() < b->id();
}

}  // namespace

Scheduler::Scheduler(int32_t max_rows, int32_t chunk) : max_rows_(max_rows), chunk_(chunk) {}

void Scheduler::Enqueue(Sequence* sequence) {
  if (sequence->tenant() == nullptr) {
    sequence->set_tenant(tenants_.Join(sequence->request().tenant));
  }
  waiting_[sequence->tenant()].insert(sequence);
  CheckInvariants();
}

int32_t Scheduler::waiting() const {
  size_t waiting = 0;
  for (const auto& [tenant, queue] : waiting_) waiting += queue.size();
  return static_cast<int32_t>(waiting);
}

Sequence* Scheduler::NextWaiting() const {
  Sequence* next = nullptr;
  std::pair<double, double> least;
  for (const auto& [tenant, queue] : waiting_) {
    const std::pair had{tenant->slots / tenants_.WeightOf(*tenant), tenant->virtual_seconds};
    Sequence* first = *queue.begin();
    if (next == nullptr || had < least || (had == least && ByRank()(first, next))) {
      next = first;
      least = had;
    }
  }
  return next;
}

bool Scheduler::LeaveQueue(Sequence* sequence) {
  const auto queue = waiting_.find(sequence->tenant());
  if (queue == waiting_.end() || queue->second.erase(sequence) == 0) return false;
  if (queue->second.empty()) waiting_.erase(queue);
  return true;
}

void Scheduler::TakeSlot(Sequence* sequence) {
  const bool waited = LeaveQueue(sequence);
  RETNET_DCHECK(waited);
  Tenants::Entry& tenant = *sequence->tenant();
  ++tenant.slots;
  if (!sequence->decoding()) tenant.prompt_rows = std::clamp(sequence->rows_left(), 1, max_rows_);
  CheckInvariants();
}

void Scheduler::Add(Sequence* sequence) {
  prompts_.insert(sequence);
  CheckInvariants();
}

void Scheduler::GiveUpSlot(Sequence* sequence) {
  if (prompts_.erase(sequence) == 0) std::erase(decoding_, sequence);
  --sequence->tenant()->slots;
  waiting_[sequence->tenant()].insert(sequence);
  CheckInvariants();
}

void Scheduler::Remove(Sequence* sequence) {
  Tenants::Entry* tenant = sequence->tenant();
  if (tenant == nullptr) return;
  if (!LeaveQueue(sequence)) {
    if (prompts_.erase(sequence) == 0) std::erase(decoding_, sequence);
    --tenant->slots;
  }
  sequence->set_tenant(nullptr);
  if (tenant->sequences == 1 && tenant->prompt_rows > 0) {
    absent_.Add(tenant->tenant, tenant->prompt_rows, step_seconds_);
  }
  tenants_.Leave(tenant);
  CheckInvariants();
}

Sequence* Scheduler::LastToRun(const Tenants::Entry& tenant) const {
  Sequence* last = nullptr;
  const auto consider = [&](Sequence* sequence) {
    if (sequence->tenant() != &tenant || !sequence->may_give_up_slot()) return;
    if (last == nullptr || ByRank()(last, sequence)) last = sequence;
  };
  for (Sequence* sequence : prompts_) consider(sequence);
  for (Sequence* sequence : decoding_) consider(sequence);
  return last;
}

Sequence* Scheduler::PreemptableFor(const Sequence& waiting) const {
  const Tenants::Entry& poor = *waiting.tenant();
  const double poor_weight = tenants_.WeightOf(poor);
  Sequence* found = nullptr;
  std::pair<double, double> most;
  tenants_.ForEach([&](const Tenants::Entry& rich) {
    const double weight = tenants_.WeightOf(rich);
    const bool fewer_left = (poor.slots + 1) / poor_weight <= (rich.slots - 1) / weight;
    const bool turn_is_over =
        poor.slots == 0 && rich.slots > 0 && rich.virtual_seconds > poor.virtual_seconds + kTurn;
    if (&rich == &poor || !(fewer_left || turn_is_over)) return;
    const std::pair has{rich.slots / weight, rich.virtual_seconds};
    if (found != nullptr && has < most) return;
    Sequence* last = LastToRun(rich);
    if (last == nullptr || (found != nullptr && has == most && ByRank()(last, found))) return;
    found = last;
    most = has;
  });
  return found;
}

Sequence* Scheduler::LastOfLongestQueue() const {
  Sequence* found = nullptr;
  double most = 0.0;
  for (const auto& [tenant, queue] : waiting_) {
    const auto last = std::find_if(queue.rbegin(), queue.rend(), [](const Sequence* sequence) {
      return sequence->computed_tokens() == 0;
    });
    if (last == queue.rend()) continue;
    const double length = static_cast<double>(queue.size()) / tenants_.WeightOf(*tenant);
    if (found != nullptr && (length < most || (length == most && ByRank()(*last, found)))) continue;
    found = *last;
    most = length;
  }
  return found;
}

std::span<const ScheduledRows> Scheduler::NextBatch(PromptBudget prompt_budget,
                                                    const StepCost::Times& times) {
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
  Allot(times);
  AddDecodingRows();
  if (!batch_.empty()) {
    rows_free_ = std::min(rows_free_, prompt_budget(max_rows_ - rows_free_));
  }
  for (Allotment& allotment : allotments_) AddPromptRows(&allotment);
  Charge(times);
  // As Model::Launch asks; a history that is computed again has sampled tokens among the given.
  std::stable_partition(batch_.begin(), batch_.end(), [](const ScheduledRows& piece) {
    return piece.sequence->row_class() == RowClass::kSampled;
  });
  CheckInvariants();
  CheckBatch();
  return batch_;
}

void Scheduler::Allot(const StepCost::Times& times) {
  allotments_.clear();
  allotment_of_.clear();
  for (Sequence* sequence : decoding_) {
    AllotmentOf(*sequence).left.decoding += 1 + sequence->request().max_draft_tokens;
  }
  for (Sequence* sequence : prompts_) {
    Allotment& allotment = AllotmentOf(*sequence);
    allotment.prompts.push_back(sequence);
    allotment.left.prompt =
        std::min(max_rows_, allotment.left.prompt + std::min(sequence->rows_left(), max_rows_));
  }
  const size_t running = allotments_.size();
  for (const auto& [tenant, queue] : waiting_) {
    Allotment& allotment = AllotmentOf(**queue.begin());
    if (allotment.left.decoding + allotment.left.prompt > 0) continue;
    allotment.left.prompt = std::clamp((*queue.begin())->rows_left(), 1, max_rows_);
  }
  const AbsentTenants::Expected expected = absent_.Strictest(&tenants_, times, step_seconds_);
  const bool somebody_is_absent = expected.prompt_rows > 0;
  if (running == 0) return;
  if (allotments_.size() == 1 && !somebody_is_absent) {
    allotments_.front().left = {max_rows_, max_rows_};
    return;
  }
  std::sort(allotments_.begin(), allotments_.end(), [](const Allotment& a, const Allotment& b) {
    return a.tenant->virtual_seconds < b.tenant->virtual_seconds;
  });
  double shares = somebody_is_absent ? expected.weight / tenants_.weight() : 0.0;
  for (size_t i = 0; i < allotments_.size(); ++i) {
    allotment_of_[allotments_[i].tenant] = i;
    shares += tenants_.ShareOf(*allotments_[i].tenant);
  }
  std::vector<TenantRows> rows;
  for (const Allotment& allotment : allotments_) {
    rows.push_back(allotment.left);
    rows.back().share = tenants_.ShareOf(*allotment.tenant) / shares;
  }
  if (somebody_is_absent) {
    const double share = expected.weight / tenants_.weight() / shares;
    rows.push_back({.decoding = 0, .prompt = expected.prompt_rows, .share = share});
  }
  rows = ShareStep(rows, max_rows_, times);
  for (size_t i = 0; i < allotments_.size(); ++i) allotments_[i].left = rows[i];
}

Scheduler::Allotment& Scheduler::AllotmentOf(const Sequence& sequence) {
  const auto [entry, added] = allotment_of_.try_emplace(sequence.tenant(), allotments_.size());
  if (added) {
    allotments_.push_back(Allotment{.tenant = sequence.tenant(), .left = {}, .prompts = {}});
  }
  return allotments_[entry->second];
}

void Scheduler::Charge(const StepCost::Times& times) {
  const bool known = times.decoding_row + times.prompt_row > 0;
  int32_t rows = 0;
  for (const ScheduledRows& piece : batch_) rows += piece.rows;
  for (const ScheduledRows& piece : batch_) {
    const double row = !known                       ? kUnknownRow
                       : piece.sequence->decoding() ? times.decoding_row
                                                    : times.prompt_row;
    const double part_of_step = times.step * piece.rows / rows;
    Tenants::Entry& tenant = *piece.sequence->tenant();
    tenant.virtual_seconds += (piece.rows * row + part_of_step) / tenants_.WeightOf(tenant);
    step_seconds_ += piece.rows * row + part_of_step;
  }
}

bool Scheduler::may_go_on() const {
  const auto awaits_step = [](const Sequence* sequence) { return sequence->awaits_step(); };
  return std::none_of(prompts_.begin(), prompts_.end(), awaits_step) &&
         std::none_of(decoding_.begin(), decoding_.end(), awaits_step);
}

void Scheduler::AddDecodingRows() {
  const int32_t kept =
      prompts_.empty() ? 0 : std::min(std::max(1, max_rows_ / kPromptShare), max_rows_ - 1);
  std::vector<Sequence*> chosen;
  std::vector<Sequence*> later;
  for (Sequence* sequence : decoding_) {
    TenantRows& left = AllotmentOf(*sequence).left;
    const bool has_room = left.decoding > 0 && std::ssize(chosen) < rows_free_ - kept;
    if (!has_room || sequence->ends_in_flight()) {
      later.push_back(sequence);
    } else {
      --left.decoding;
      chosen.push_back(sequence);
    }
  }
  for (size_t i = 0; i < chosen.size(); ++i) {
    TenantRows& left = AllotmentOf(*chosen[i]).left;
    // A guess must not fold the chunk, which could not be taken back.
    const int32_t to_fold = chunk_ - chosen[i]->scheduled_tokens() % chunk_;
    const auto others = static_cast<int32_t>(chosen.size() - i - 1);
    const int32_t most = std::min({to_fold - 1, rows_free_ - kept - others - 1, left.decoding});
    AddPiece(chosen[i], chosen[i]->Draft(most));
    left.decoding -= batch_.back().rows - 1;
  }
  later.insert(later.end(), chosen.begin(), chosen.end());
  decoding_ = std::move(later);
}

void Scheduler::AddPromptRows(Allotment* allotment) {
  std::vector<Sequence*>& prompts = allotment->prompts;
  if (prompts.empty()) return;
  Sequence* first = prompts.front();
  std::sort(prompts.begin(), prompts.end(), ByNeed);
  int32_t left = std::min(rows_free_, allotment->left.prompt);
  int32_t kept = std::min(first->rows_left(), left - left / 2);
  for (Sequence* sequence : prompts) {
    if (sequence == first) kept = 0;
    if (left <= kept || sequence->ends_in_flight()) continue;
    AddPiece(sequence, PieceRows(*sequence, left - kept));
    left -= batch_.back().rows;
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
  const auto check_order = [&found](const Queue& queue) {
    const Sequence* before = nullptr;
    for (const Sequence* sequence : queue) {
      RETNET_DCHECK(before == nullptr || ByRank()(before, sequence));
      RETNET_DCHECK(found.insert(sequence).second);
      before = sequence;
    }
  };
  check_order(prompts_);
  absl::flat_hash_map<const Tenants::Entry*, int32_t> placed;
  for (const auto& [tenant, queue] : waiting_) {
    RETNET_DCHECK(!queue.empty());
    check_order(queue);
  }
  for (const Sequence* sequence : decoding_) {
    RETNET_DCHECK(found.insert(sequence).second);
    RETNET_DCHECK(sequence->decoding());
  }
  for (const Sequence* sequence : found) ++placed[sequence->tenant()];
  tenants_.ForEach([&](const Tenants::Entry& tenant) {  // others have a slot being filled
    const auto queue = waiting_.find(&tenant);
    const auto waiting = queue == waiting_.end() ? 0 : static_cast<int32_t>(queue->second.size());
    RETNET_DCHECK(tenant.sequences == waiting + tenant.slots);
    RETNET_DCHECK(placed[&tenant] <= tenant.sequences);
  });
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
