#include "engine/states/state_cache.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <vector>

#include "engine/states/prefix_cache.h"
#include "tests/engine/fake_model.h"

namespace retnet {
namespace {

// Four tokens a chunk: a base is 8 bytes, a token of a tail 8.
class StateCacheTest : public testing::Test {
 protected:
  void Start(int32_t slots, int64_t host_bytes) {
    options_.slots = slots;
    model_ = std::make_unique<FakeModel>(options_);
    states_ = std::make_unique<StateCache>(model_.get(), StateCacheOptions{host_bytes}, [] {});
  }

  // A state that has seen so many tokens.
  StateRef Make(int32_t tokens) {
    const SlotId slot = states_->Take();
    EXPECT_NE(slot, kNoSlot);
    const std::vector<TokenId> text(tokens, 1);
    Segment segment;
    segment.slot = slot;
    segment.tokens = text;
    StepResult result;
    EXPECT_TRUE(model_->Launch({&segment, 1}).ok());
    EXPECT_TRUE(model_->Wait(&result).ok());
    return states_->Park(slot);
  }

  // What the model has in a slot.
  ByteVector BytesIn(SlotId slot) {
    ByteVector bytes(model_->StateBytes(model_->state(slot)));
    EXPECT_TRUE(model_->StartRead(slot, bytes).ok());
    return bytes;
  }

  FakeModelOptions options_;
  std::unique_ptr<FakeModel> model_;
  std::unique_ptr<StateCache> states_;
};

TEST_F(StateCacheTest, TheLastHolderTakesTheSlotAndOthersGetForks) {
  Start(/*slots=*/3, /*host_bytes=*/0);
  StateRef state = Make(6);
  const SlotId slot = state->slot;
  StatePrefix first{state, 5};
  StatePrefix last{std::move(state), 6};
  const SlotId fork = states_->Restore(&first);
  EXPECT_NE(fork, slot);
  EXPECT_EQ(model_->state(fork).position, 5);
  EXPECT_EQ(states_->Restore(&last), slot);
  EXPECT_EQ(model_->state(slot).position, 6);
  states_->Release(slot);
  states_->Release(fork);
  EXPECT_EQ(states_->free_slots(), 3);
}

TEST_F(StateCacheTest, WhatCostsLeastAByteGivesUpItsSlotAndComesBackWhole) {
  Start(/*slots=*/2, /*host_bytes=*/1000);
  const StateRef cheap = Make(2);
  const ByteVector bytes = BytesIn(cheap->slot);
  const StateRef dear = Make(12);
  const SlotId slot = states_->Take();
  ASSERT_NE(slot, kNoSlot);
  EXPECT_EQ(cheap->slot, kNoSlot);
  EXPECT_NE(dear->slot, kNoSlot);
  EXPECT_EQ(states_->host_bytes(), 16) << "two tokens of a tail";
  states_->Release(slot);
  StatePrefix prefix{cheap, 2};
  const SlotId back = states_->Restore(&prefix);
  EXPECT_EQ(model_->state(back).position, 2);
  EXPECT_EQ(BytesIn(back), bytes);
  states_->Release(back);
}

TEST_F(StateCacheTest, HostMemoryIsBoundedAndWhatDoesNotFitIsGone) {
  Start(/*slots=*/1, /*host_bytes=*/20);
  const StateRef first = Make(2);   // 16 bytes
  const StateRef second = Make(2);  // moves the first out
  EXPECT_FALSE(first->gone());
  const StateRef third = Make(1);  // moves the second out, which leaves no room for the first
  EXPECT_EQ(first->gone() + second->gone(), 1);
  EXPECT_LE(states_->host_bytes(), 20);
  const StateRef large = Make(12);
  const SlotId slot = states_->Take();
  EXPECT_TRUE(large->gone()) << "40 bytes never fit";
  states_->Release(slot);
}

TEST_F(StateCacheTest, OneOfManySlotsIsFreeForWhoeverComesNext) {
  Start(/*slots=*/16, /*host_bytes=*/1000);
  std::vector<StateRef> states;
  for (int i = 0; i < 40; ++i) {
    ASSERT_EQ(states_->evictions(), std::max(0, i - 15));
    ASSERT_GT(states_->free_slots(), 0);
    states.push_back(Make(2));
    states_->KeepSpareSlot();
    states_->Poll();
  }
}

TEST_F(StateCacheTest, AStateWithoutHoldersLeavesNothing) {
  Start(/*slots=*/2, /*host_bytes=*/1000);
  StateRef moved = Make(3);
  StateRef here = Make(9);
  states_->Release(states_->Take());
  ASSERT_GT(states_->host_bytes(), 0);
  moved.reset();
  here.reset();
  EXPECT_EQ(states_->host_bytes(), 0);
  EXPECT_EQ(states_->free_slots(), 2);
}

TEST_F(StateCacheTest, AReadGivesTheBytesAndLeavesTheState) {
  Start(/*slots=*/1, /*host_bytes=*/0);
  const StateRef state = Make(6);
  StateBytes bytes;
  states_->Read(state, [&](absl::StatusOr<StateBytes> read) { bytes = *read; });
  ASSERT_NE(bytes, nullptr);
  EXPECT_EQ(bytes->size(), 8 + 2 * 8) << "a base and two tokens of a tail";
  ASSERT_NE(state->slot, kNoSlot);
  EXPECT_EQ(*bytes, BytesIn(state->slot));
}

TEST_F(StateCacheTest, ThePrefixCacheForgetsWhatHasBeenEvicted) {
  Start(/*slots=*/1, /*host_bytes=*/0);
  TokenHistory history;
  history.Append(std::vector<TokenId>(12, 1), RowClass::kPrompt);
  ChunkKeys keys;
  keys.Begin("anna", 4, false);
  keys.Extend(history, 12);
  PrefixCache cache(4);
  EXPECT_EQ(cache.Note(keys.keys()), 0);
  EXPECT_EQ(cache.Note(keys.keys().first(2)), 8) << "as far as both go";
  cache.Insert(keys.keys(), 8, Make(8));
  EXPECT_EQ(cache.Find(keys.keys(), 11).tokens, 8);
  EXPECT_EQ(cache.Find(keys.keys(), 7).state, nullptr) << "longer than may be";
  EXPECT_TRUE(cache.Contains(keys.keys(), 8));
  states_->Release(states_->Take());
  EXPECT_EQ(cache.Find(keys.keys(), 11).state, nullptr);
  EXPECT_EQ(cache.entries(), 0);
}

}  // namespace
}  // namespace retnet
