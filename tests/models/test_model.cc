#include "tests/models/test_model.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>

namespace retnet {

std::vector<float> TestModel::Step(std::span<const Feed> feeds) {
  size_t longest = 0;
  for (const Feed& feed : feeds) longest = std::max(longest, feed.tokens.size());
  std::vector<RowOutput> outputs(longest);
  for (size_t i = 0; i < longest; ++i) {
    outputs[i].row = static_cast<int32_t>(i);
    outputs[i].query.given = 0;
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
  const auto ticket = model_->StartRead(slot, state.bytes);
  EXPECT_TRUE(ticket.ok()) << ticket.status();
  return state;
}

void TestModel::Write(const StateCopy& state, SlotId slot) const {
  const auto ticket = model_->StartWrite(state.bytes, state.shape, slot);
  EXPECT_TRUE(ticket.ok()) << ticket.status();
}

std::vector<TokenId> RandomTokens(int64_t count, int32_t vocab_size, uint32_t seed) {
  std::mt19937 random(seed);
  std::vector<TokenId> tokens(count);
  for (TokenId& token : tokens) token = static_cast<TokenId>(random() % vocab_size);
  return tokens;
}

}  // namespace retnet
