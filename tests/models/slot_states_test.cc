#include "models/slot_states.h"

#include <gtest/gtest.h>

#include <random>
#include <set>

#include "kernels/dcheck.h"

namespace retnet {
namespace {

struct Advanced {
  int32_t fold_phase = 0;
  std::vector<RetentionPiece> pieces;
};

Advanced Advance(SlotStates& states, SlotId slot, int32_t rows) {
  Advanced advanced;
  states.BeginStep();
  advanced.fold_phase = states.Advance(slot, rows, /*first_row=*/0, advanced.pieces);
  return advanced;
}

TEST(SlotStates, CutsASegmentAtTheChunksEnds) {
  SlotStates states(2);
  Advance(states, 0, 10);
  const auto pieces = Advance(states, 0, 200).pieces;  // positions 10 … 209
  ASSERT_EQ(pieces.size(), 4);
  const int32_t rows[] = {54, 64, 64, 18};
  int32_t first_row = 0;
  for (int32_t i = 0; i < 4; ++i) {
    EXPECT_EQ(pieces[i].slot, 0);
    EXPECT_EQ(pieces[i].first_row, first_row);
    EXPECT_EQ(pieces[i].position, 10 + first_row);
    EXPECT_EQ(pieces[i].rows, rows[i]);
    EXPECT_EQ(pieces[i].tail, i == 0 ? 10 : 0);
    EXPECT_EQ(pieces[i].folds, i > 0);
    first_row += pieces[i].rows;
  }
  EXPECT_EQ(pieces[0].base, kZeroBase);
  EXPECT_EQ(pieces[1].fold_source, kZeroBase);       // the first fold reads no base
  EXPECT_EQ(pieces[2].fold_source, pieces[2].base);  // later folds are in place
  EXPECT_EQ(states[0].base_position, 192);
  EXPECT_EQ(states[0].tail(), 18);
}

TEST(SlotStates, AFullTailFoldsWithTheNextTokenOnly) {
  SlotStates states(1);
  Advance(states, 0, 64);
  EXPECT_EQ(states[0].base_position, 0);
  EXPECT_EQ(states[0].tail(), kChunk);
  const auto pieces = Advance(states, 0, 1).pieces;
  ASSERT_EQ(pieces.size(), 1);
  EXPECT_TRUE(pieces[0].folds);
  EXPECT_EQ(states[0].base_position, 64);
}

TEST(SlotStates, AnEmptyTailAtABaseDoesNotFold) {
  SlotStates states(1);
  Advance(states, 0, 70);
  ASSERT_TRUE(states.Truncate(0, 64).ok());
  const auto pieces = Advance(states, 0, 1).pieces;
  ASSERT_EQ(pieces.size(), 1);
  EXPECT_FALSE(pieces[0].folds);
  EXPECT_EQ(pieces[0].base, states[0].base);
  EXPECT_EQ(pieces[0].tail, 0);
}

TEST(SlotStates, ASharedBaseIsLeftAlone) {
  SlotStates states(2);
  Advance(states, 0, 128);
  ASSERT_TRUE(states.Fork(0, 1, states[0].position).ok());
  const int32_t shared = states[0].base;
  EXPECT_EQ(states[1].base, shared);
  const auto first = Advance(states, 1, 1);
  EXPECT_EQ(first.pieces[0].fold_source, shared);
  EXPECT_NE(first.pieces[0].base, shared);
  EXPECT_EQ(first.fold_phase, 0);
  // In a later step, the other slot is the only reader.
  const auto second = Advance(states, 0, 1);
  EXPECT_EQ(second.pieces[0].base, shared);
  EXPECT_EQ(second.fold_phase, 0);
}

TEST(SlotStates, AFoldInPlaceWaitsForThoseThatReadItsBase) {
  SlotStates states(3);
  Advance(states, 0, 128);
  ASSERT_TRUE(states.Fork(0, 1, states[0].position).ok());
  Advance(states, 2, 128);
  std::vector<RetentionPiece> pieces;
  states.BeginStep();
  EXPECT_EQ(states.Advance(0, 1, 0, pieces), 0);
  EXPECT_EQ(states.Advance(2, 1, 1, pieces), 0);  // no other slot reads its base
  EXPECT_EQ(states.Advance(1, 1, 2, pieces), 1);
}

TEST(SlotStates, RefusesWhatItCannotDo) {
  SlotStates states(2);
  Advance(states, 0, 100);
  Advance(states, 1, 1);
  EXPECT_EQ(states.Check(2).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(states.Check(-1).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(states.Fork(0, 1, states[0].position).code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(states.Fork(0, 0, states[0].position).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(states.Truncate(0, 63).code(), absl::StatusCode::kOutOfRange);
  EXPECT_EQ(states.Truncate(0, 101).code(), absl::StatusCode::kOutOfRange);
  EXPECT_EQ(states.Adopt({.base_position = 64, .position = 65}, 1).code(),
            absl::StatusCode::kFailedPrecondition);
  ASSERT_TRUE(states.Clear(1).ok());
  for (const Model::StateShape shape :
       {Model::StateShape{-64, 0}, {10, 20}, {64, 63}, {64, 129}, {0, -1}, {-64, 2147483647}}) {
    EXPECT_EQ(states.Adopt(shape, 1).code(), absl::StatusCode::kInvalidArgument)
        << shape.base_position << " " << shape.position;
  }
  EXPECT_TRUE(states.Adopt({.base_position = 64, .position = 128}, 1).ok());
}

TEST(SlotStates, AForkSamplesOnWithItsOriginalsToken) {
  SlotStates states(2);
  Advance(states, 0, 3);
  states.SetSampled(0);
  ASSERT_TRUE(states.Fork(0, 1, states[0].position).ok());
  EXPECT_TRUE(states[1].has_sampled);
  ASSERT_TRUE(states.Clear(1).ok());
  EXPECT_FALSE(states[1].has_sampled);
}

// Random histories. After a step, a base that a fold wrote has no other reader. Within a fold
// phase, no slot touches a base that another one writes. Phase 1 is never used without phase 0. A
// fold always finds a base.
class SlotStatesWalk : public ::testing::Test {
 protected:
  static constexpr int32_t kSlots = 5;

  void ChangeASlot() {
    const SlotId slot = Random(kSlots);
    switch (Random(4)) {
      case 0:
        ASSERT_TRUE(states_.Clear(slot).ok());
        break;
      case 1:
        if (const SlotId to = Random(kSlots); to != slot) {
          ASSERT_TRUE(states_.Clear(to).ok());
          ASSERT_TRUE(states_.Fork(slot, to, states_[slot].position).ok());
        }
        break;
      case 2:
        ASSERT_TRUE(
            states_.Truncate(slot, states_[slot].position - Random(states_[slot].tail() + 1)).ok());
        break;
      default:
        ASSERT_TRUE(states_.Clear(slot).ok());
        ASSERT_TRUE(states_.Adopt({.base_position = 64, .position = 64 + Random(65)}, slot).ok());
    }
  }

  void Step() {
    std::vector<RetentionPiece> pieces[kSlots];
    std::vector<SlotId> fold_phases[2];
    states_.BeginStep();
    for (SlotId slot = 0; slot < kSlots; ++slot) {
      if (Random(4) == 0) continue;
      const int32_t rows = Random(2) == 0 ? 1 : 1 + Random(140);
      fold_phases[states_.Advance(slot, rows, 0, pieces[slot])].push_back(slot);
    }
    EXPECT_TRUE(fold_phases[1].empty() || !fold_phases[0].empty());
    for (const auto& fold_phase : fold_phases) {
      std::set<int32_t> written;
      std::multiset<int32_t> touched;
      for (const SlotId slot : fold_phase) {
        std::set<int32_t> own;
        for (const RetentionPiece& piece : pieces[slot]) {
          own.insert({piece.base, piece.fold_source});
          if (piece.folds) written.insert(piece.base);
          EXPECT_EQ(piece.position % kChunk, piece.tail % kChunk);
          EXPECT_LE(piece.tail + piece.rows, kChunk);
        }
        touched.insert(own.begin(), own.end());
      }
      for (const int32_t base : written) EXPECT_EQ(touched.count(base), 1);
    }
    // After the step a written base has one reader, whichever fold phase wrote it.
    for (SlotId slot = 0; slot < kSlots; ++slot) {
      for (const RetentionPiece& piece : pieces[slot]) {
        if (!piece.folds) continue;
        for (SlotId other = 0; other < kSlots; ++other) {
          EXPECT_TRUE(other == slot || states_[other].base != piece.base);
        }
      }
    }
  }

  int32_t Random(int32_t below) { return static_cast<int32_t>(random_() % below); }

  std::mt19937 random_{7};
  SlotStates states_{kSlots};
};

TEST_F(SlotStatesWalk, NobodyWritesWhatAnotherTouches) {
  for (int32_t i = 0; i < 5000; ++i) {
    Step();
    ChangeASlot();
    if (HasFailure()) return;
  }
}

TEST(SlotStatesDeathTest, ABrokenCountEndsTheProcess) {
  if (!kDchecks)
    GTEST_SKIP()
        << "this build has benchmarks and checks no invariants; scripts/test.sh builds with them";
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  SlotStates states(2);
  Advance(states, 0, 70);
  auto& slot = const_cast<SlotStates::Slot&>(states[0]);
  ASSERT_NE(slot.base, kZeroBase);
  slot.base = 1 - slot.base;
  EXPECT_DEATH(static_cast<void>(states.Clear(1)),
               "slot_states.cc:[0-9]+: broken invariant: readers == readers_");
}

}  // namespace
}  // namespace retnet
