#include <algorithm>
#include <cstdint>
#include <map>
#include <random>
#include <vector>

#include "gtest/gtest.h"
#include "kernels/cuda/retention/retention.h"

namespace retnet::cuda {
namespace {

RetentionPiece DecodeRow(int32_t row, int32_t base) {
  return {.slot = row, .first_row = row, .rows = 1, .tail = 7, .base = base};
}

std::vector<RetentionSegment> SegmentsOf(const std::vector<RetentionPiece>& pieces) {
  std::vector<RetentionSegment> segments;
  for (const RetentionPiece& piece : pieces) segments.push_back({&piece, 1});
  return segments;
}

TEST(HostPlan, ReadersOfOneBaseAreTogether) {
  std::vector<RetentionPiece> pieces;
  for (int32_t row = 0; row < 21; ++row) pieces.push_back(DecodeRow(row, row % 2 == 0 ? 5 : row));
  HostPlan plan;
  PlanRetention(SegmentsOf(pieces), /*sampled_rows=*/21, &plan);
  EXPECT_TRUE(plan.sampled.shares_bases);
  // Base 5 has the readers 0, 2, … and 5, which are 12.
  EXPECT_EQ(std::count(plan.readers.begin(), plan.readers.end(), 8), 1);
  EXPECT_EQ(std::count(plan.readers.begin(), plan.readers.end(), 4), 1);
  EXPECT_EQ(std::count(plan.readers.begin(), plan.readers.end(), 1), 9);
  EXPECT_EQ(std::count(plan.readers.begin(), plan.readers.end(), 0), 10);
}

TEST(HostPlan, FoldsDraftsPromptsAndEmptyStatesAreReadAlone) {
  std::vector<RetentionPiece> pieces(8, DecodeRow(0, /*base=*/3));
  for (int32_t row = 0; row < 8; ++row) pieces[row].first_row = pieces[row].slot = row;
  pieces[0].folds = true;
  pieces[0].tail = 0;
  pieces[1].rows = 2;
  pieces[2].base = pieces[3].base = kZeroBase;
  pieces[4].base = 4;
  std::vector<RetentionSegment> segments = SegmentsOf(pieces);
  segments.insert(segments.begin() + 2, RetentionSegment());  // a padding row
  HostPlan plan;
  PlanRetention(segments, /*sampled_rows=*/6, &plan);  // slots 6 and 7 have prompt rows
  EXPECT_FALSE(plan.sampled.shares_bases);
  EXPECT_EQ(plan.readers, std::vector<int32_t>(9, 1));
  EXPECT_EQ(plan.sampled.segments, 7);
  EXPECT_EQ(plan.prompt.segments, 2);
}

// For every grouping, each segment appears once, in the part of its class.
TEST(HostPlan, HoldsEverySegmentOnce) {
  std::mt19937 random(1);
  HostPlan plan;
  for (int round = 0; round < 200; ++round) {
    const auto rows = static_cast<int32_t>(1 + random() % 40);
    const auto sampled_rows = static_cast<int32_t>(random() % (rows + 1));
    std::vector<RetentionPiece> pieces;
    for (int32_t row = 0; row < rows; ++row) {
      pieces.push_back(DecodeRow(row, static_cast<int32_t>(random() % 6) - 1));
      pieces.back().folds = random() % 5 == 0;
    }
    PlanRetention(SegmentsOf(pieces), sampled_rows, &plan);
    ASSERT_EQ(plan.starts.size(), rows + 1);
    std::map<int32_t, int32_t> times;
    for (int32_t segment = 0; segment < rows; ++segment) {
      const RetentionPiece& piece = plan.pieces[plan.starts[segment]];
      EXPECT_EQ(plan.starts[segment + 1], plan.starts[segment] + 1);
      EXPECT_EQ(piece.first_row < sampled_rows, segment < sampled_rows);
      ++times[piece.first_row];
      const int32_t readers = plan.readers[segment];
      EXPECT_LE(readers, kMostReaders);
      for (int32_t i = 1; i < readers; ++i) {
        EXPECT_EQ(plan.readers[segment + i], 0);
        EXPECT_EQ(plan.pieces[plan.starts[segment + i]].base, piece.base);
      }
    }
    EXPECT_EQ(times.size(), rows);
    int64_t read = 0;
    for (const int32_t readers : plan.readers) read += readers;
    EXPECT_EQ(read, rows);
  }
}

}  // namespace
}  // namespace retnet::cuda
