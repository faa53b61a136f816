#include "engine/snapshots/snapshot.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <iterator>
#include <string>

#include "tests/engine/snapshots/sample_snapshot.h"
#include "tests/engine/snapshots/snapshot_bytes.h"

namespace retnet {
namespace {

using ::testing::HasSubstr;

const SessionKey kKey = {"an owner/\n", std::string("\0id", 3)};

TEST(Snapshot, ComesBackBitForBitOfEveryLength) {
  SnapshotFormat format = SampleFormat();
  for (const int zstd_level : {0, 3}) {
    format.zstd_level = zstd_level;
    for (int32_t length = 0; length < 14; ++length) {
      SCOPED_TRACE(length);
      const Snapshot snapshot = SampleSnapshot(kKey, length);
      ExpectSame(RoundTrip(snapshot, format), snapshot);
    }
  }
}

TEST(Snapshot, AFullTailOrAnEmptyOneIsKeptAsItIs) {
  Snapshot snapshot = SampleSnapshot(kKey, 9);
  ASSERT_EQ(snapshot.shape.base_position, 8);
  ExpectSame(RoundTrip(snapshot, SampleFormat()), snapshot);
  snapshot.shape.base_position = 4;
  snapshot.state = std::make_shared<ByteVector>(160 + 4 * 24, std::byte{7});
  ExpectSame(RoundTrip(snapshot, SampleFormat()), snapshot);
}

TEST(Snapshot, TimesWithoutEndAndBeforeTheEpochComeBack) {
  Snapshot snapshot = SampleSnapshot(kKey, 3);
  snapshot.created = absl::InfinitePast();
  snapshot.expires = absl::UnixEpoch() - absl::Nanoseconds(5);
  ExpectSame(RoundTrip(snapshot, SampleFormat()), snapshot);
}

TEST(Snapshot, ACorruptByteAnywhereIsDataLoss) {
  SnapshotFormat format = SampleFormat();
  for (const int zstd_level : {0, 3}) {
    format.zstd_level = zstd_level;
    const std::string bytes = EncodeSnapshot(SampleSnapshot(kKey, 12), format).value();
    for (size_t i = 0; i < bytes.size(); ++i) {
      for (const int flip : {0x01, 0x80, 0xFF}) {
        std::string damaged = bytes;
        damaged[i] = static_cast<char>(damaged[i] ^ flip);
        EXPECT_TRUE(absl::IsDataLoss(DecodeSnapshot(damaged, format).status())) << i;
      }
    }
  }
}

TEST(Snapshot, CutOffAnywhereOrLongerItIsDataLoss) {
  const SnapshotFormat format = SampleFormat();
  const std::string bytes = EncodeSnapshot(SampleSnapshot(kKey, 12), format).value();
  for (size_t length = 0; length < bytes.size(); ++length) {
    EXPECT_TRUE(absl::IsDataLoss(DecodeSnapshot(bytes.substr(0, length), format).status()));
  }
  EXPECT_TRUE(absl::IsDataLoss(DecodeSnapshot(bytes + '\0', format).status()));
  EXPECT_TRUE(absl::IsDataLoss(DecodeSnapshot(Sealed(bytes + '\0'), format).status()));
}

// Damage that a checksum cannot show, because whoever did it made a new one.
TEST(Snapshot, AForgedByteAnywhereIsAnErrorOrASoundSnapshot) {
  SnapshotFormat format = SampleFormat();
  for (const int zstd_level : {0, 3}) {
    format.zstd_level = zstd_level;
    const std::string bytes = EncodeSnapshot(SampleSnapshot(kKey, 12), format).value();
    int sound = 0;
    for (size_t i = 0; i + 8 < bytes.size(); ++i) {
      for (const int flip : {0x01, 0x80, 0xFF}) {
        std::string forged = bytes;
        forged[i] = static_cast<char>(forged[i] ^ flip);
        const auto decoded = DecodeSnapshot(Sealed(forged), format);
        if (!decoded.ok()) continue;
        ++sound;
        EXPECT_TRUE(EncodeSnapshot(*decoded, format).ok()) << i;
      }
    }
    EXPECT_GT(sound, 100) << "other names, times and numbers of a state are as good";
  }
}

TEST(Snapshot, OfAnotherModelItSaysWhatDiffers) {
  const SnapshotFormat format = SampleFormat();
  const std::string bytes = EncodeSnapshot(SampleSnapshot(kKey, 12), format).value();
  const auto expect = [&](const SnapshotFormat& other, const std::string& what) {
    const absl::Status status = DecodeSnapshot(bytes, other).status();
    EXPECT_TRUE(absl::IsFailedPrecondition(status)) << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr(what));
  };
  SnapshotFormat other = format;
  other.model_fingerprint ^= 1;
  expect(other, "model fingerprint is 123456789abcdef; here it is 123456789abcdee");
  other = format;
  other.tail_type = ElementType::kBFloat16;
  expect(other, "type of tails is f32; here it is bf16");
  other = format;
  other.base_type = ElementType::kBFloat16;
  expect(other, "type of bases is f32; here it is bf16");
  other = format;
  other.chunk = 8;
  expect(other, "chunk is 4; here it is 8");
  other = format;
  other.base_bytes += 4;
  expect(other, "size of a base is 160; here it is 164");
  other = format;
  other.tail_token_bytes = 12;
  expect(other, "size of a token of a tail is 24; here it is 12");
}

// A token that the model does not have would be the model's failure, and so everybody's.
TEST(Snapshot, WithATokenOutsideTheVocabularyIsDamaged) {
  SnapshotFormat larger = SampleFormat();
  larger.vocab_size += 1;
  for (const size_t place : {0, 11}) {
    Snapshot snapshot = SampleSnapshot(kKey, 12);
    snapshot.history[place] = SampleFormat().vocab_size;
    const std::string bytes = EncodeSnapshot(snapshot, larger).value();
    const absl::Status status = DecodeSnapshot(bytes, SampleFormat()).status();
    EXPECT_TRUE(absl::IsDataLoss(status)) << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr("token 1000 "));
  }
}

// What is fuzzed from must not stop being read when the format changes.
TEST(Snapshot, TheCorpusHoldsSoundOnes) {
  for (const std::string name :
       {"exact", "empty", "no_state", "tail_only", "bf16", "int8", "zstd"}) {
    std::ifstream file(RETNET_SOURCE_DIR "/tests/fuzz/corpus/snapshot/" + name, std::ios::binary);
    const std::string bytes(std::istreambuf_iterator<char>(file), {});
    const absl::Status status = DecodeSnapshot(bytes, SampleFormat()).status();
    EXPECT_TRUE(status.ok()) << name << ": " << status;
  }
}

TEST(Snapshot, OfAnotherFormatVersionIsRefusedByIt) {
  std::string bytes = EncodeSnapshot(SampleSnapshot(kKey, 2), SampleFormat()).value();
  bytes[8] = 3;
  const absl::Status status = DecodeSnapshot(Sealed(bytes), SampleFormat()).status();
  EXPECT_TRUE(absl::IsFailedPrecondition(status)) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("format version is 3; here it is 1 or 2"));
}

// Without the mark the bytes are those of version 1, which older releases read.
TEST(Snapshot, TheMarkOfAnImportedOneComesBackAndTakesAByte) {
  Snapshot snapshot = SampleSnapshot(kKey, 12);
  const std::string plain = EncodeSnapshot(snapshot, SampleFormat()).value();
  snapshot.imported = true;
  ExpectSame(RoundTrip(snapshot, SampleFormat()), snapshot);
  std::string marked = EncodeSnapshot(snapshot, SampleFormat()).value();
  std::string expected = plain;
  expected[8] = 2;
  expected.insert(16, 1, '\1');
  EXPECT_EQ(marked, Sealed(expected));
  marked[16] = '\x81';  // a flag that nobody knows
  const absl::Status status = DecodeSnapshot(Sealed(marked), SampleFormat()).status();
  EXPECT_TRUE(absl::IsFailedPrecondition(status)) << status;
}

TEST(Snapshot, ACutTokenComesBackAndTakesNineBytes) {
  Snapshot snapshot = SampleSnapshot(kKey, 12);
  const std::string plain = EncodeSnapshot(snapshot, SampleFormat()).value();
  snapshot.cut = {.token = 3, .bytes = 2};
  ExpectSame(RoundTrip(snapshot, SampleFormat()), snapshot);
  std::string marked = EncodeSnapshot(snapshot, SampleFormat()).value();
  std::string expected = plain;
  expected[8] = 2;
  expected.insert(16, std::string("\4\3\0\0\0\2\0\0\0", 9));
  EXPECT_EQ(marked, Sealed(expected));
  snapshot.imported = true;
  ExpectSame(RoundTrip(snapshot, SampleFormat()), snapshot);
  marked[21] = '\0';  // no byte is left
  EXPECT_TRUE(absl::IsDataLoss(DecodeSnapshot(Sealed(marked), SampleFormat()).status()));
  snapshot.cut.token = SampleFormat().vocab_size;
  EXPECT_TRUE(absl::IsInvalidArgument(EncodeSnapshot(snapshot, SampleFormat()).status()));
}

TEST(Snapshot, ThatDoesNotAgreeWithItselfIsNotWritten) {
  const auto expect_refused = [](const Snapshot& snapshot, const std::string& what) {
    const absl::Status status = EncodeSnapshot(snapshot, SampleFormat()).status();
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr(what));
  };
  const Snapshot sound = SampleSnapshot(kKey, 12);
  Snapshot snapshot = sound;
  snapshot.shape.base_position = 6;
  expect_refused(snapshot, "a base at 6");
  snapshot = sound;
  snapshot.shape.position = 12;
  expect_refused(snapshot, "does not fit a history of 12");
  snapshot = sound;
  snapshot.class_runs = {2, 2};
  expect_refused(snapshot, "changes at 2");
  snapshot.class_runs = {12};
  expect_refused(snapshot, "changes at 12");
  snapshot = sound;
  snapshot.history[5] = -1;
  expect_refused(snapshot, "token -1");
  snapshot = sound;
  snapshot.state = nullptr;
  expect_refused(snapshot, "takes 232 bytes, not 0");
}

TEST(SnapshotHead, SaysWhatTheWholeSaysAsSoonAsItIsThere) {
  const SnapshotFormat format = SampleFormat();
  Snapshot snapshot = SampleSnapshot({"ann", "1"}, 12);
  snapshot.labels = {{"user", "7"}};
  const std::string bytes = EncodeSnapshot(snapshot, format).value();
  size_t needed = 0;
  while (absl::IsOutOfRange(DecodeSnapshotHead(bytes.substr(0, needed), format).status())) {
    ASSERT_LT(++needed, bytes.size());
  }
  EXPECT_LT(needed, bytes.size() - snapshot.state->size() - 12 * sizeof(TokenId));
  for (size_t size = needed; size <= bytes.size(); ++size) {
    const auto head = DecodeSnapshotHead(bytes.substr(0, size), format);
    ASSERT_TRUE(head.ok()) << head.status();
    EXPECT_EQ(head->key, snapshot.key);
    EXPECT_EQ(head->labels, snapshot.labels);
    EXPECT_EQ(head->created, snapshot.created);
    EXPECT_EQ(head->last_used, snapshot.last_used);
    EXPECT_EQ(head->expires, snapshot.expires);
    EXPECT_EQ(head->version, snapshot.version);
    EXPECT_EQ(head->tokens, 12);
    EXPECT_EQ(head->state_tokens, snapshot.shape.position);
    EXPECT_EQ(head->state_bytes, snapshot.state->size());
  }
  SnapshotFormat other = format;
  ++other.model_fingerprint;
  EXPECT_TRUE(absl::IsFailedPrecondition(DecodeSnapshotHead(bytes, other).status()));
  EXPECT_TRUE(absl::IsDataLoss(DecodeSnapshotHead("RNETSNOT", format).status()));
}

}  // namespace
}  // namespace retnet
