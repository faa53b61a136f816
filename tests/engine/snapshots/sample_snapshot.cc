#include "tests/engine/snapshots/sample_snapshot.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <random>

namespace retnet {

SnapshotFormat SampleFormat() {
  return {.model_fingerprint = 0x0123456789ABCDEF,
          .vocab_size = 1000,
          .chunk = 4,
          .base_bytes = 160,
          .tail_token_bytes = 24,
          .tail_type = ElementType::kFloat32};
}

Snapshot SampleSnapshot(const SessionKey& key, int32_t length, uint32_t seed) {
  const SnapshotFormat format = SampleFormat();
  std::mt19937 random(seed);
  Snapshot snapshot;
  snapshot.key = key;
  snapshot.labels = {{"colour", "blue"}, {"empty", ""}};
  snapshot.created = absl::FromUnixNanos(1'700'000'000'123'456'789);
  snapshot.version = 7;
  for (int32_t i = 0; i < length; ++i) snapshot.history.push_back(random() % 1000);
  if (length > 3) snapshot.class_runs = {1, 3};
  snapshot.shape.position = std::max(length - 1, 0);
  snapshot.shape.base_position = snapshot.shape.position / format.chunk * format.chunk;
  const int64_t tail = snapshot.shape.position - snapshot.shape.base_position;
  const int64_t bytes =
      (snapshot.shape.base_position > 0 ? format.base_bytes : 0) + tail * format.tail_token_bytes;
  std::normal_distribution<float> numbers;
  auto state = std::make_shared<ByteVector>(bytes);
  for (int64_t i = 0; i < bytes / 4; ++i) {
    const float number = numbers(random);
    std::memcpy(state->data() + i * 4, &number, 4);
  }
  snapshot.state = std::move(state);
  return snapshot;
}

void ExpectSame(const Snapshot& found, const Snapshot& expected) {
  EXPECT_EQ(found.key, expected.key);
  EXPECT_EQ(found.labels, expected.labels);
  EXPECT_EQ(found.created, expected.created);
  EXPECT_EQ(found.last_used, expected.last_used);
  EXPECT_EQ(found.expires, expected.expires);
  EXPECT_EQ(found.version, expected.version);
  EXPECT_EQ(found.history, expected.history);
  EXPECT_EQ(found.class_runs, expected.class_runs);
  EXPECT_EQ(found.shape.base_position, expected.shape.base_position);
  EXPECT_EQ(found.shape.position, expected.shape.position);
  EXPECT_EQ(found.exact, expected.exact);
  EXPECT_EQ(found.imported, expected.imported);
  EXPECT_EQ(found.cut, expected.cut);
  ASSERT_NE(found.state, nullptr);
  EXPECT_EQ(*found.state, *expected.state);
}

}  // namespace retnet
