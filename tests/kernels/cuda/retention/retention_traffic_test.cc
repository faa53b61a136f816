#include "tests/kernels/cuda/retention/retention_traffic.h"

#include <cstdint>
#include <vector>

#include "gtest/gtest.h"
#include "kernels/cuda/retention/retention.h"

namespace retnet::cuda {
namespace {

// One layer of retnet-1.3B.
const RetentionShape kShape{
    .layers = 24, .heads = 8, .kv_heads = 8, .key_dim = 256, .value_dim = 512, .slots = 1};
constexpr int32_t kMeanTail = 32;

double Share(RetentionTraffic traffic) {
  return static_cast<double>(traffic.requested) / static_cast<double>(traffic.floor);
}

// Decode rows of several sequences, each with its own base, or all with the same base.
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
    EXPECT_GE(kShape.heads * BlocksOfDecodedHead(kShape, extent), 108);
  }
}

// Computed by hand for one head of 256 × 512 and a tail of 32 tokens. k and v of tails are bf16,
// all other numbers fp32.
constexpr int64_t kHeadBase = 256 * 512 * 4;
constexpr int64_t kRotated = (256 + 2 * 128) * 4;  // a q or k, and its cosines and sines
constexpr int64_t kOutput = 512 * 4;
// The bytes of a decode row in addition to its base, with `blocks` blocks per head.
constexpr int64_t HeadRow(int64_t blocks) {
  return blocks * kRotated +        // every block rotates q,
         32 * 256 * 2 + kRotated +  // one of them takes each k, and its own is
         (blocks * 33 + 64) * 4 +   // rotated; all take each weight, one clears 64
         32 * 512 * 2 + 512 * 4 +   // v
         kOutput +                  // written before the norm, which reads it twice
         2 * kOutput + 512 * 4 + 512 * 4 + kOutput +  // and gate and weight, and writes it
         kRotated + 512 * 4 + (256 + 512) * 2;        // k and v go to the tail
}

TEST(RetentionTraffic, DecodeRowsRequestTheirOwnOnceAndQOnceABlock) {
  struct {
    int32_t sequences;
    int64_t blocks;  // of a head: fewer where there are enough without
    double share;    // of the floor, as docs/gpu.md has it
  } const cases[] = {{1, 16, 1.08}, {2, 16, 1.08},  {4, 16, 1.08},
                     {8, 8, 1.05},  {16, 4, 1.035}, {64, 4, 1.035}};
  for (const auto& [sequences, blocks, share] : cases) {
    SCOPED_TRACE(sequences);
    const RetentionTraffic traffic = Decode(sequences);
    EXPECT_EQ(traffic.requested, sequences * 8 * (kHeadBase + HeadRow(blocks)));
    EXPECT_NEAR(Share(traffic), share, 0.005);
  }
  EXPECT_EQ(Decode(1).requested, 5'044'736) << "the 5.04 MB of docs/gpu.md";
}

TEST(RetentionTraffic, SamplesOfOnePromptRequestItsBaseOnceForEight) {
  for (int32_t samples : {2, 7, 8, 9, 16, 17, 64}) {
    EXPECT_EQ(Decode(samples, /*share_a_base=*/true).requested,
              8 * ((samples + 7) / 8 * kHeadBase + samples * HeadRow(16)))
        << samples;
  }
  EXPECT_NEAR(Share(Decode(8, /*share_a_base=*/true)), 1.38, 0.005);
  EXPECT_NEAR(Share(Decode(64, /*share_a_base=*/true)), 2.56, 0.005);
}

// Requested by blocks; most of it is read from memory once (retention_traffic.h). Computed by hand
// for one row and 8 heads, each with its own k and v:
constexpr int64_t kPrepared =                 // PrepareTokens:
    8 * (2 * kRotated + 512 * 4) +            //   reads q, k, v,
    8 * (2 * 256 + 512) * 2;                  //   writes them as bf16
constexpr int64_t kOfAHead = 2 * 256 * 2 +    // q, and k of its whole chunk once a chunk
                             64 * 2;          // weights
constexpr int64_t kWeighed = 8 * kOfAHead;    // WeighRows: a block a head
constexpr int64_t kRetained =                 // RetainRows:
    8 * 8 * kOfAHead +                        //   a block for 64 of the 512 columns of a head
    8 * (512 * 2 + kOutput);                  //   v, and the output
constexpr int64_t kNormed = 8 * 4 * kOutput;  // FinishRows: output, gate and weight; the result
constexpr int64_t kTailed = 8 * (kRotated + 512 * 4 + (256 + 512) * 2);  // the last chunk's rows

TEST(RetentionTraffic, PromptRowsRequestAboutThreeTimesTheFloor) {
  constexpr int64_t kReadAndWritten = 2 * kBase;
  for (const int32_t rows : {64, 512}) {
    const RetentionTraffic traffic = PromptTraffic(kShape, rows);
    EXPECT_EQ(traffic.floor, kReadAndWritten + rows * kRow);
    EXPECT_EQ(traffic.requested,
              kReadAndWritten + rows * (kPrepared + kWeighed + kRetained + kNormed) + 64 * kTailed);
  }
  EXPECT_NEAR(Share(PromptTraffic(kShape, 64)), 2.1, 0.05);
  EXPECT_NEAR(Share(PromptTraffic(kShape, 512)), 3.14, 0.05);
}

}  // namespace
}  // namespace retnet::cuda
