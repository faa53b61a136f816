#include "tests/models/test_model.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <utility>

namespace retnet {

TestModel::TestModel(std::unique_ptr<Model> model, std::unique_ptr<std::vector<float>> logits,
                     RowClass row_class)
    : model_(std::move(model)), logits_(std::move(logits)), row_class_(row_class) {
  model_->set_transfer_done([reported = reported_.get()](Ticket ticket, absl::Status status) {
    EXPECT_TRUE(status.ok()) << status;
    const std::lock_guard lock(reported->mutex);
    reported->tickets.insert(ticket);
    reported->changed.notify_all();
  });
}

void TestModel::WaitFor(const absl::StatusOr<Ticket>& ticket) const {
  ASSERT_TRUE(ticket.ok()) << ticket.status();
  std::unique_lock lock(reported_->mutex);
  reported_->changed.wait(lock, [&] { return reported_->tickets.count(*ticket) > 0; });
  EXPECT_EQ(reported_->tickets.count(*ticket), 1);
}

std::vector<float> TestModel::Step(std::span<const Feed> feeds) {
  size_t longest = 0;
  for (const Feed& feed : feeds) longest = std::max(longest, feed.tokens.size());
  std::vector<RowOutput> outputs(longest);
  for (size_t i = 0; i < longest; ++i) {
    outputs[i].row = static_cast<int32_t>(i);
    outputs[i].request.scored_token = 0;
  }
  std::vector<Segment> segments;
  for (const Feed& feed : feeds) {
    segments.push_back({.slot = feed.slot,
                        .position = model_->state(feed.slot).position,
                        .row_class = row_class_,
                        .tokens = feed.tokens,
                        .outputs = std::span(outputs).first(feed.tokens.size())});
  }
  logits_->clear();
  const absl::Status launched = model_->Launch(segments);
  EXPECT_TRUE(launched.ok()) << launched;
  StepResult result;
  const absl::Status waited = model_->Wait(&result);
  EXPECT_TRUE(waited.ok()) << waited;
  return *logits_;
}

std::vector<float> TestModel::Run(SlotId slot, std::span<const TokenId> tokens, int64_t piece) {
  std::vector<float> all;
  for (size_t first = 0; first < tokens.size(); first += piece) {
    const auto step =
        Step(slot, tokens.subspan(first, std::min<size_t>(piece, tokens.size() - first)));
    all.insert(all.end(), step.begin(), step.end());
  }
  return all;
}

StateCopy TestModel::Read(SlotId slot) const {
  StateCopy state{model_->state(slot), {}};
  state.bytes.resize(model_->StateBytes(state.shape));
  WaitFor(model_->StartRead(slot, state.bytes));
  return state;
}

void TestModel::Write(const StateCopy& state, SlotId slot) const {
  WaitFor(model_->StartWrite(state.bytes, state.shape, slot));
}

std::vector<TokenId> RandomTokens(int64_t count, int32_t vocab_size, uint32_t seed) {
  std::mt19937 random(seed);
  std::vector<TokenId> tokens(count);
  for (TokenId& token : tokens) token = static_cast<TokenId>(random() % vocab_size);
  return tokens;
}

}  // namespace retnet
