#include "kernels/cuda/retention_traffic.h"

#include <cstdint>

#include "gtest/gtest.h"
#include "kernels/cuda/retention_few.h"

namespace retnet {
namespace {

// retnet-1.3B; a layer.
const RetentionShape kShape{
    .layers = 24, .heads = 8, .kv_heads = 8, .key_dim = 256, .value_dim = 512, .slots = 1};
constexpr int32_t kMeanTail = 32;

double Share(RetentionTraffic traffic) {
  return static_cast<double>(traffic.requested) / static_cast<double>(traffic.floor);
}

TEST(RetentionTraffic, FloorOfADecodeRowIsBaseTailAndRow) {
  const int64_t base = 8 * 256 * 512 * 4;
  const int64_t tail = 8 * (256 + 512) * 2;
  const int64_t row = (4 * 2048 + 3 * 4096 - 2 * 2048 + 256) * 4;  // q, k, v, g, out, angles
  EXPECT_EQ(DecodeTraffic(kShape, 1, kMeanTail).floor, base + 33 * tail + row);
  EXPECT_EQ(DecodeTraffic(kShape, 64, kMeanTail).floor, 64 * (base + 33 * tail + row));
}

TEST(RetentionTraffic, OneSequenceHasABlockForEverySm) {
  EXPECT_GE(kShape.heads * kShape.value_dim / FewColumns(kShape, 1), 108);
}

TEST(RetentionTraffic, ManySequencesRequestLittleMoreThanTheFloor) {
  for (int32_t sequences : {16, 64}) {
    EXPECT_LE(Share(DecodeTraffic(kShape, sequences, kMeanTail)), 1.15) << sequences;
  }
}

// Of the repeats, bases and v are none: what a narrow block repeats is q, k and the tail's k.
TEST(RetentionTraffic, OneSequencesRepeatsAreHalfAsMuchAsItsFloor) {
  EXPECT_LE(Share(DecodeTraffic(kShape, 1, kMeanTail)), 1.6);
}

// By blocks; the device's memory gives most of them once, see retention_traffic.h.
TEST(RetentionTraffic, PromptRowsRequestAboutThreeTimesTheFloor) {
  EXPECT_LE(Share(PromptTraffic(kShape, 512)), 3.2);
}

}  // namespace
}  // namespace retnet
