// States that are read and written while steps run, on every backend.
#include <gtest/gtest.h>

#include <algorithm>
#include <deque>
#include <random>
#include <string>
#include <vector>

#include "tests/models/random_checkpoint.h"
#include "tests/models/step_script.h"
#include "tests/models/test_model.h"

namespace retnet {
namespace {

constexpr int32_t kSlots = 6;
constexpr int32_t kVocabulary = 97;
constexpr int32_t kMostTokens = 40;  // of a segment: folds are frequent

// Steps, forks, truncations and transfers in random order. Nothing touches a slot in transfer until
// an order ends the transfer.
class Interleaving {
 public:
  // With `during_steps`, a transfer is waited for when an order ends it; otherwise as soon as it
  // has begun.
  Interleaving(TestModel& model, bool during_steps, uint32_t seed)
      : model_(model), during_steps_(during_steps), random_(seed) {}

  void Run(int32_t orders) {
    for (int32_t i = 0; i < orders; ++i) {
      const SlotId used = Pick(/*clear=*/false);
      const SlotId clear = Pick(/*clear=*/true);
      switch (Below(8)) {
        case 0:
          if (used != kNone) Read(used);
          break;
        case 1:
          if (clear != kNone) Write(clear);
          break;
        case 2:
          if (used != kNone && clear != kNone) {
            EXPECT_TRUE(model_->Fork(used, clear).ok());
          }
          break;
        case 3:
          if (used != kNone && Below(2) == 0) {
            EXPECT_TRUE(model_->Clear(used).ok());
          }
          break;
        case 4:
          if (used != kNone) TakeBack(used);
          break;
        case 5:
          if (!transfers_.empty()) End();
          break;
        default:
          Step();
      }
    }
    while (!transfers_.empty()) End();
  }

  const std::vector<SampleResult>& results() const { return results_; }
  const std::deque<StateCopy>& copies() const { return copies_; }

 private:
  static constexpr SlotId kNone = -1;
  struct Transfer {
    SlotId slot;
    absl::StatusOr<Ticket> ticket;
    bool reads;
  };

  int32_t Below(size_t bound) { return static_cast<int32_t>(random_() % bound); }

  bool InTransfer(SlotId slot) const {
    return std::any_of(transfers_.begin(), transfers_.end(),
                       [slot](const Transfer& transfer) { return transfer.slot == slot; });
  }

  // A slot that is not in transfer and is clear or not; kNone if there is none.
  SlotId Pick(bool clear) {
    std::vector<SlotId> slots;
    for (SlotId slot = 0; slot < kSlots; ++slot) {
      if (!InTransfer(slot) && (model_->state(slot).position == 0) == clear) slots.push_back(slot);
    }
    return slots.empty() ? kNone : slots[Below(slots.size())];
  }

  void Begin(SlotId slot, absl::StatusOr<Ticket> ticket, bool reads) {
    if (!during_steps_) model_.WaitFor(ticket);
    transfers_.push_back({slot, std::move(ticket), reads});
  }

  void Read(SlotId slot) {
    StateCopy& copy = copies_.emplace_back(StateCopy{model_->state(slot), {}});
    copy.bytes.resize(model_->StateBytes(copy.shape));
    Begin(slot, model_->StartRead(slot, copy.bytes), /*reads=*/true);
  }

  void Write(SlotId slot) {
    if (finished_reads_ == 0) return;
    const StateCopy& copy = copies_[Below(finished_reads_)];
    Begin(slot, model_->StartWrite(copy.bytes, copy.shape, slot), /*reads=*/false);
  }

  void End() {
    if (during_steps_) model_.WaitFor(transfers_.front().ticket);
    finished_reads_ += transfers_.front().reads ? 1 : 0;
    transfers_.pop_front();
  }

  void TakeBack(SlotId slot) {
    const Model::StateShape at = model_->state(slot);
    const int32_t tail = at.position - at.base_position;
    EXPECT_TRUE(model_->Truncate(slot, at.position - Below(tail + 1)).ok());
  }

  void Step() {
    std::vector<std::vector<TokenId>> tokens;
    std::vector<RowOutput> outputs;
    tokens.reserve(kSlots);
    outputs.reserve(kSlots);
    std::vector<Segment> segments;
    for (SlotId slot = 0; slot < kSlots; ++slot) {
      if (InTransfer(slot) || Below(3) == 0) continue;
      const int32_t count = 1 + Below(Below(2) == 0 ? 1 : kMostTokens);
      tokens.push_back(RandomTokens(count, kVocabulary, random_()));
      RowOutput& output = outputs.emplace_back();
      output.row = count - 1;
      output.request.sampling.temperature = 0;
      output.request.logprob = true;
      segments.push_back({.slot = slot,
                          .position = model_->state(slot).position,
                          .tokens = tokens.back(),
                          .outputs = {&output, 1}});
    }
    if (segments.empty()) return;
    ASSERT_TRUE(model_->Launch(segments).ok());
    StepResult result;
    ASSERT_TRUE(model_->Wait(&result).ok());
    results_.insert(results_.end(), result.results.begin(), result.results.end());
  }

  TestModel& model_;
  const bool during_steps_;
  std::mt19937 random_;
  std::deque<StateCopy> copies_;
  size_t finished_reads_ = 0;  // of copies_, the first ones
  std::deque<Transfer> transfers_;
  std::vector<SampleResult> results_;
};

TEST(RetNetTransfers, DuringStepsEqualThoseBetweenSteps) {
  const std::string folder = WriteRandomCheckpoint(
      {.config = R"({"vocab_size": 97, "hidden_size": 24, "num_hidden_layers": 2, "num_heads": 3,
                     "intermediate_size": 40})"});
  for (const uint32_t seed : {1u, 2u, 3u}) {
    for (const Backend& backend : UnrecordedBackends()) {
      SCOPED_TRACE(backend.name + ", seed " + std::to_string(seed));
      TestModel one = backend.make(folder, kSlots, /*max_rows=*/kSlots * kMostTokens);
      TestModel other = backend.make(folder, kSlots, /*max_rows=*/kSlots * kMostTokens);
      Interleaving between(one, /*during_steps=*/false, seed);
      Interleaving during(other, /*during_steps=*/true, seed);
      between.Run(400);
      during.Run(400);
      EXPECT_GT(between.copies().size(), 20);
      ExpectSameResults(during.results(), between.results());
      ASSERT_EQ(during.copies().size(), between.copies().size());
      for (size_t i = 0; i < between.copies().size(); ++i) {
        EXPECT_TRUE(during.copies()[i].bytes == between.copies()[i].bytes) << "copy " << i;
      }
    }
  }
}

}  // namespace
}  // namespace retnet
