#include "tests/kernels/cuda/retention/retention_traffic.h"

#include <cstdint>
#include <vector>

#include "gtest/gtest.h"
#include "kernels/cuda/retention/decode.h"
#include "kernels/cuda/retention/retention.h"

namespace retnet::cuda {
namespace {

// retnet-1.3B; a layer.
const RetentionShape kShape{
    .layers = 24, .heads = 8, .kv_heads = 8, .key_dim = 256, .value_dim = 512, .slots = 1};
constexpr int32_t kMeanTail = 32;

double Share(RetentionTraffic traffic) {
  return static_cast<double>(traffic.requested) / static_cast<double>(traffic.floor);
}

// Decode rows of so many sequences, each with a base of its own, or all with one.
RetentionTraffic Decode(int32_t sequences, bool share_a_base = false) {
  std::vector<RetentionPiece> pieces(sequences);
  std::vector<RetentionSegment> segments;
  for (int32_t i = 0; i < sequences; ++i) {
    pieces[i] = {
        .slot = i, .first_row = i, .rows = 1, .tail = kMeanTail, .base = share_a_base ? 0 : i};
    segments.push_back({&pieces[i], 1});
  }
  HostPlan plan;
  PlanRetention(segments, /*sampled_rows=*/sequences, &plan);
  return DecodeTraffic(kShape, plan);
}

constexpr int64_t kBase = 8 * 256 * 512 * 4;
constexpr int64_t kTail = 33 * 8 * (256 + 512) * 2;
constexpr int64_t kRow = (4 * 2048 + 3 * 4096 - 2 * 2048 + 256) * 4;  // q, k, v, g, out, angles

TEST(RetentionTraffic, FloorOfADecodeRowIsBaseTailAndRow) {
  EXPECT_EQ(Decode(1).floor, kBase + kTail + kRow);
  EXPECT_EQ(Decode(64).floor, 64 * (kBase + kTail + kRow));
  EXPECT_EQ(Decode(64, /*share_a_base=*/true).floor, kBase + 64 * (kTail + kRow));
}

TEST(RetentionTraffic, OneSequenceAndSamplesOfOnePromptHaveABlockForEverySm) {
  for (const bool shares_bases : {false, true}) {
    const RetentionExtent extent{
        .segments = 1, .pieces = 1, .rows = 1, .shares_bases = shares_bases};
    EXPECT_GE(kShape.heads * kShape.value_dim / DecodeColumns(kShape, extent), 108);
  }
}

TEST(RetentionTraffic, DecodeRowsRequestLittleMoreThanTheFloor) {
  for (int32_t sequences : {1, 2, 4, 8, 16, 64}) {
    EXPECT_LE(Share(Decode(sequences)), 1.10) << sequences;
  }
}

TEST(RetentionTraffic, SamplesOfOnePromptRequestItsBaseOnceForEight) {
  const int64_t row = Decode(1).requested - kBase;
  for (int32_t samples : {2, 7, 8, 9, 16, 17, 64}) {
    EXPECT_EQ(Decode(samples, /*share_a_base=*/true).requested,
              (samples + 7) / 8 * kBase + samples * row)
        << samples;
  }
  EXPECT_LE(Share(Decode(8, /*share_a_base=*/true)), 1.4);
}

// By blocks; the device's memory gives most of them once, see retention_traffic.h.
TEST(RetentionTraffic, PromptRowsRequestAboutThreeTimesTheFloor) {
  EXPECT_LE(Share(PromptTraffic(kShape, 512)), 3.2);
}

}  // namespace
}  // namespace retnet::cuda
