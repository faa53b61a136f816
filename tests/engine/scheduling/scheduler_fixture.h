// Sequences and steps without a model, for tests of the scheduler.
#ifndef RETNET_TESTS_ENGINE_SCHEDULING_SCHEDULER_FIXTURE_H_
#define RETNET_TESTS_ENGINE_SCHEDULING_SCHEDULER_FIXTURE_H_

#include <gtest/gtest.h>

#include <cstdint>
#include <limits>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "engine/scheduling/scheduler.h"

namespace retnet {

inline int32_t Unlimited(int32_t) { return std::numeric_limits<int32_t>::max(); }

// Every sampled token is 0.
class SchedulerTest : public testing::Test {
 protected:
  Sequence* Make(int32_t prompt_tokens, int32_t max_tokens = 1000, int32_t priority = 0,
                 const char* tenant = "") {
    Request request;
    request.tenant.principal = tenant;
    request.prompt.assign(prompt_tokens, 0);
    request.max_tokens = max_tokens;
    request.priority = priority;
    sequences_.push_back(
        std::make_unique<Sequence>(std::move(request), nullptr, 1 << 20, absl::UnixEpoch()));
    sequences_.back()->set_id(sequences_.size());
    return sequences_.back().get();
  }

  Sequence* Started(Scheduler& scheduler, Sequence* sequence) {
    scheduler.Enqueue(sequence);
    scheduler.TakeSlot(sequence);
    scheduler.Add(sequence);
    return sequence;
  }

  // One step; returns its pieces. Sequences that finish are removed.
  std::vector<ScheduledRows> RunStep(Scheduler& scheduler,
                                     Scheduler::PromptBudget prompt_budget = Unlimited,
                                     const StepCost::Times& times = {}) {
    const std::span<const ScheduledRows> batch = scheduler.NextBatch(prompt_budget, times);
    const std::vector<ScheduledRows> pieces(batch.begin(), batch.end());
    for (const auto& [sequence, rows] : pieces) {
      std::vector<RowOutput> outputs;
      outputs.reserve(rows);
      sequence->NextSegment(rows, &outputs);
      const std::vector<SampleResult> results(outputs.size(), SampleResult{.token = 0, .top = {}});
      sequence->Accept(rows, results, absl::UnixEpoch());
      if (sequence->finished()) scheduler.Remove(sequence);
    }
    return pieces;
  }

  static int32_t RowsOf(const std::vector<ScheduledRows>& pieces, const Sequence* sequence) {
    int32_t rows = 0;
    for (const ScheduledRows& piece : pieces) rows += piece.sequence == sequence ? piece.rows : 0;
    return rows;
  }

  std::vector<std::unique_ptr<Sequence>> sequences_;
};

}  // namespace retnet

#endif  // RETNET_TESTS_ENGINE_SCHEDULING_SCHEDULER_FIXTURE_H_
