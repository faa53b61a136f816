// A model for tests of engine and server: it computes nothing, but its answers depend on every
// token that a slot has really been given, so that a mistake in slots, positions, pieces or order
// changes the text.
#ifndef RETNET_TESTS_ENGINE_FAKE_MODEL_H_
#define RETNET_TESTS_ENGINE_FAKE_MODEL_H_

#include <atomic>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "models/model.h"
#include "tests/engine/fake_model_control.h"

namespace retnet {

struct FakeModelOptions {
  int32_t vocab_size = 97;
  int32_t slots = 4;
  int32_t max_rows = 16;
  int32_t chunk = 4;
  TokenId bos = kNoToken;
  std::vector<TokenId> eos = {};
  absl::Duration step_time = absl::ZeroDuration();  // every Wait takes at least so long,
  absl::Duration row_time = absl::ZeroDuration();   // and so much longer for each row of its step
  // When set: the token that has by far the greatest logit after `last`, which is at `position`.
  std::function<TokenId(int32_t position, TokenId last)> next = nullptr;
  // When set and true: the logits after `last`, which is at `position`, are not finite.
  std::function<bool(int32_t position, TokenId last)> not_finite = nullptr;
  // Logits depend on the class that each token was computed in, as they do, by rounding, on CUDA.
  bool class_sensitive = false;
  // Transfers end a little later, on another thread.
  bool slow_transfers = false;
  int32_t steps_in_flight = 1;  // more are refused
};

// What the fake answers to a query about the last token of `history`. Its logits are a hash of the
// history and of nothing else; what it samples depends on all of query.sampling.
// Without `class_at` all tokens are given ones.
SampleResult FakeResult(const FakeModelOptions& options, std::span<const TokenId> history,
                        const SampleRequest& query,
                        const std::function<RowClass(int32_t position)>& class_at = nullptr);

// Checks the rules of the seam strictly. A base is a hash of the tokens before it, a tail its
// tokens.
class FakeModel : public Model {
 public:
  explicit FakeModel(FakeModelOptions options, std::shared_ptr<FakeModelControl> control =
                                                   std::make_shared<FakeModelControl>());
  ~FakeModel() override;

  const ModelInfo& info() const override { return info_; }
  absl::Status Launch(std::span<const Segment> segments) override;
  absl::Status Wait(StepResult* result) override;
  using Model::Fork;
  absl::Status Fork(SlotId from, SlotId to, int32_t position) override;
  absl::Status Truncate(SlotId slot, int32_t position) override;
  absl::Status Clear(SlotId slot) override;
  StateShape state(SlotId slot) const override;
  absl::StatusOr<Ticket> StartRead(SlotId slot, std::span<std::byte> bytes) override;
  absl::StatusOr<Ticket> StartWrite(std::span<const std::byte> bytes, StateShape shape,
                                    SlotId slot) override;

 private:
  // What the tokens so far amount to. A tail's entry is a token and, where the classes count, its
  // class.
  struct Slot {
    int32_t base_position = 0;
    uint64_t base = 0;  // hash of the tokens before it
    std::vector<uint64_t> tail;
    TokenId last_sampled = kNoToken;
    std::shared_ptr<std::atomic<bool>> transfer;  // true while one runs

    int32_t position() const { return base_position + static_cast<int32_t>(tail.size()); }
    uint64_t hash() const;  // of all
  };

  absl::Status CheckSegment(const Segment& segment) const;
  absl::Status CheckOutputs(const Segment& segment) const;
  absl::Status CheckStep(std::span<const Segment> segments) const;
  void Compute(const Segment& segment, std::vector<SampleResult>* results);
  // A rule broken, or OK: the slot exists and no transfer runs on it.
  absl::Status CheckSlot(SlotId slot) const;
  Ticket Transfer(SlotId slot);

  const FakeModelOptions options_;
  const std::shared_ptr<FakeModelControl> control_;
  ModelInfo info_;
  std::vector<Slot> slots_;
  Ticket last_ticket_ = 0;
  std::vector<std::thread> transfers_;
  struct Step {
    std::vector<SampleResult> results;
    absl::Duration time;
  };
  std::deque<Step> in_flight_;
  int64_t waited_ = 0;  // steps
  absl::Status failure_;
};

}  // namespace retnet

#endif  // RETNET_TESTS_ENGINE_FAKE_MODEL_H_
