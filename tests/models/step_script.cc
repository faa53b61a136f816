#include "tests/models/step_script.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <deque>
#include <random>
#include <span>

namespace retnet {
namespace {

constexpr int32_t kMostPromptTokens = 90;  // more than a chunk
constexpr int32_t kMostTakenBack = 3;
constexpr LogitEdit kEdits[] = {{.token = 3, .repetition = 1.3f, .add = -0.5f},
                                {.token = 11, .add = 0.7f}};

}  // namespace

class StepScript::Generator {
 public:
  Generator(int32_t slots, int32_t vocab_size, uint32_t seed)
      : random_(seed), vocab_size_(vocab_size), slots_(slots) {}

  Order Between() {
    const SlotId from = Below(slots_.size());
    const SlotId to = Below(slots_.size());
    switch (Below(8)) {
      case 0:
      case 1:
        if (slots_[from].tokens == 0 || from == to) return {};
        slots_[to] = slots_[from];
        return {.kind = Kind::kFork, .parts = {}, .from = from, .to = to};
      case 2:
        if (slots_[from].tokens < 2 * kMostTakenBack) return {};
        return {.kind = Kind::kTruncate, .parts = {}, .from = from, .tokens = TakeBack(from)};
      case 3:
        slots_[from] = {};
        return {.kind = Kind::kClear, .parts = {}, .from = from};
      case 4:
        if (slots_[from].tokens == 0 || from == to) return {};
        slots_[to] = {.tokens = slots_[from].tokens};
        return {.kind = Kind::kCopy, .parts = {}, .from = from, .to = to};
      default:
        return {};
    }
  }

  // A step with sampled tokens first, then prompt tokens.
  Order Step() {
    Order order;
    const bool decodes = Below(4) > 0;
    for (SlotId slot = 0; slot < slots_.size(); ++slot) {
      if (slots_[slot].sampled && Below(5) > 0) order.parts.push_back(Decode(slot));
    }
    for (SlotId slot = 0; slot < slots_.size(); ++slot) {
      if (decodes && !order.parts.empty()) break;
      if (!slots_[slot].sampled) order.parts.push_back(Prompt(slot));
    }
    return order;
  }

 private:
  struct Slot {
    int32_t tokens = 0;
    bool sampled = false;
  };

  int32_t Below(size_t bound) { return static_cast<int32_t>(random_() % bound); }

  int32_t TakeBack(SlotId slot) {
    const int32_t tokens = 1 + Below(kMostTakenBack);
    slots_[slot].tokens -= tokens;
    return tokens;
  }

  Part Decode(SlotId slot) {
    ++slots_[slot].tokens;
    return {slot, {}, {Sampled(0)}};
  }

  Part Prompt(SlotId slot) {
    Part part{slot, RandomTokens(1 + Below(kMostPromptTokens), vocab_size_, random_()), {}};
    const auto rows = static_cast<int32_t>(part.tokens.size());
    slots_[slot].tokens += rows;
    if (rows > 2) {
      RowOutput scored;
      scored.row = 1;
      scored.request.scored_token = part.tokens[2];
      part.outputs.push_back(scored);
    }
    part.outputs.push_back(Sampled(rows - 1));
    slots_[slot].sampled = true;
    return part;
  }

  RowOutput Sampled(int32_t row) {
    RowOutput output;
    output.row = row;
    output.request.sampling = {.temperature = static_cast<float>(Below(3)) * 0.6f,
                               .top_k = Below(2) * 20,
                               .seed = 17,
                               .draw = draw_++};
    if (Below(3) == 0) output.request.sampling.edits = kEdits;
    output.request.logprob = Below(2) == 0;
    output.request.top_logprobs = Below(3) == 0 ? 1 + Below(5) : 0;
    return output;
  }

  std::mt19937 random_;
  const int32_t vocab_size_;
  std::vector<Slot> slots_;
  uint64_t draw_ = 0;
};

StepScript::StepScript(int32_t slots, int32_t vocab_size, int32_t steps, uint32_t seed) {
  Generator generator(slots, vocab_size, seed);
  while (steps > 0) {
    orders_.push_back(generator.Between());
    orders_.push_back(generator.Step());
    const std::vector<Part>& parts = orders_.back().parts;
    steps -= parts.empty() ? 0 : 1;
    decode_steps_ += !parts.empty() && parts.back().tokens.empty() ? 1 : 0;
  }
}

class StepScript::Runner {
 public:
  Runner(TestModel& model, bool ahead)
      : model_(model), ahead_(ahead), last_(model->info().slots, kNoToken) {}

  void Do(const Order& order) {
    switch (order.kind) {
      case Kind::kStep:
        if (!order.parts.empty()) Step(order.parts);
        return;
      case Kind::kFork:
        last_[order.to] = last_[order.from];
        EXPECT_TRUE(model_->Clear(order.to).ok());
        EXPECT_TRUE(model_->Fork(order.from, order.to).ok());
        return;
      case Kind::kTruncate: {
        const auto state = model_->state(order.from);
        EXPECT_TRUE(
            model_
                ->Truncate(order.from, std::max(state.base_position, state.position - order.tokens))
                .ok());
        return;
      }
      case Kind::kClear:
        EXPECT_TRUE(model_->Clear(order.from).ok());
        return;
      case Kind::kCopy:
        EXPECT_TRUE(model_->Clear(order.to).ok());
        model_.Write(model_.Read(order.from), order.to);
        return;
    }
  }

  std::vector<SampleResult> Finish() {
    while (!steps_.empty()) Wait();
    return results_;
  }

 private:
  // Lives until it is waited for.
  struct InFlight {
    std::vector<std::vector<TokenId>> tokens;
    std::vector<Segment> segments;
  };

  void Step(const std::vector<Part>& parts) {
    if (!ahead_ && !steps_.empty()) Wait();
    InFlight& step = steps_.emplace_back();
    for (const Part& part : parts) {
      const bool decodes = part.tokens.empty();
      step.tokens.push_back(part.tokens);
      if (decodes) step.tokens.back() = {ahead_ ? kLastSampled : last_[part.slot]};
      step.segments.push_back({.slot = part.slot,
                               .position = model_->state(part.slot).position,
                               .row_class = decodes ? RowClass::kSampled : RowClass::kPrompt,
                               .tokens = step.tokens.back(),
                               .outputs = part.outputs});
    }
    const absl::Status launched = model_->Launch(step.segments);
    ASSERT_TRUE(launched.ok()) << launched;
    if (steps_.size() == 2 || !ahead_) Wait();
  }

  void Wait() {
    ASSERT_TRUE(model_->Wait(&result_).ok());
    size_t i = 0;
    for (const Segment& segment : steps_.front().segments) {
      for (const RowOutput& output : segment.outputs) {
        ASSERT_LT(i, result_.results.size());
        if (output.request.scored_token == kNoToken) last_[segment.slot] = result_.results[i].token;
        results_.push_back(result_.results[i++]);
      }
    }
    EXPECT_EQ(i, result_.results.size());
    steps_.pop_front();
  }

  TestModel& model_;
  const bool ahead_;
  std::vector<TokenId> last_;  // of each slot; only when not ahead
  std::deque<InFlight> steps_;
  StepResult result_;
  std::vector<SampleResult> results_;
};

std::vector<SampleResult> StepScript::Run(TestModel& model, bool ahead) const {
  Runner runner(model, ahead);
  for (const Order& order : orders_) runner.Do(order);
  return runner.Finish();
}

void ExpectSameResults(const std::vector<SampleResult>& a, const std::vector<SampleResult>& b) {
  ASSERT_EQ(a.size(), b.size());
  for (size_t i = 0; i < a.size(); ++i) {
    ASSERT_EQ(a[i].token, b[i].token) << "result " << i;
    ASSERT_EQ(std::bit_cast<uint32_t>(a[i].logprob), std::bit_cast<uint32_t>(b[i].logprob))
        << "result " << i;
    ASSERT_EQ(a[i].top, b[i].top) << "result " << i;
  }
}

}  // namespace retnet
