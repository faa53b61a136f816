#include "engine/snapshots/snapshot_key.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <xxhash.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "absl/strings/escaping.h"
#include "engine/snapshots/snapshot.h"
#include "tests/engine/snapshots/sample_snapshot.h"

namespace retnet {
namespace {

using ::testing::HasSubstr;

std::string FileOf(const std::string& bytes) {
  static int number = 0;
  const std::string path = testing::TempDir() + "/snapshot_key_" + std::to_string(getpid()) + "_" +
                           std::to_string(number++);
  std::ofstream(path, std::ios::binary) << bytes;
  return path;
}

SnapshotKey KeyOf(const std::string& bytes) { return SnapshotKey::Read(FileOf(bytes)).value(); }

std::string Sealed(std::string bytes) {
  bytes.resize(bytes.size() - 8);
  const uint64_t checksum = XXH3_64bits(bytes.data(), bytes.size());
  bytes.append(reinterpret_cast<const char*>(&checksum), 8);
  return bytes;
}

// RFC 4231, test case 6.
TEST(SnapshotKey, SignsWithHmacSha256) {
  const SnapshotKey key = KeyOf(std::string(131, '\xaa'));
  const std::string text = "Test Using Larger Than Block-Size Key - Hash Key First";
  std::string signed_text = text;
  ASSERT_TRUE(key.Sign(&signed_text).ok());
  EXPECT_TRUE(key.Check(signed_text).ok());
  EXPECT_FALSE(key.Check(text).ok());
  EXPECT_EQ(absl::BytesToHexString(signed_text.substr(text.size())),
            "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
}

TEST(SnapshotKey, TakesFilesWithinItsBounds) {
  for (const size_t size : {32, 33, 4095, 4096}) {
    EXPECT_TRUE(SnapshotKey::Read(FileOf(std::string(size, 'k'))).ok()) << size;
  }
  for (const size_t size : {0, 1, 31, 4097}) {
    const absl::Status status = SnapshotKey::Read(FileOf(std::string(size, 'k'))).status();
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
    EXPECT_THAT(std::string(status.message()),
                HasSubstr("a key of " + std::to_string(size) + " bytes; it must have from 32 to"));
  }
  // A symbolic link to one, as Kubernetes makes them.
  const std::string link = FileOf("") + ".link";
  std::filesystem::create_symlink(FileOf(std::string(32, 'k')), link);
  EXPECT_TRUE(SnapshotKey::Read(link).ok());
}

class SignedSnapshots : public testing::Test {
 protected:
  static SnapshotFormat FormatWith(const SnapshotKey* key) {
    SnapshotFormat format = SampleFormat();
    format.key = key;
    return format;
  }

  static void ExpectRefused(const std::string& bytes, const SnapshotFormat& format,
                            const std::string& what) {
    const absl::Status status = DecodeSnapshot(bytes, format).status();
    EXPECT_TRUE(absl::IsFailedPrecondition(status)) << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr(what));
  }

  const SnapshotKey key_ = KeyOf(std::string(32, 'k'));
  const SnapshotKey other_ = KeyOf(std::string(31, 'k') + "l");
  const SnapshotFormat keyed_ = FormatWith(&key_);
  const Snapshot snapshot_ = SampleSnapshot({"ann", "1"}, 12);
};

TEST_F(SignedSnapshots, ComeBackAsAuthentic) {
  for (const int zstd_level : {0, 3}) {
    for (const bool imported : {false, true}) {
      Snapshot snapshot = snapshot_;
      snapshot.imported = imported;
      SnapshotFormat format = keyed_;
      format.zstd_level = zstd_level;
      const auto read = DecodeSnapshot(EncodeSnapshot(snapshot, format).value(), format);
      ASSERT_TRUE(read.ok()) << read.status();
      ExpectSame(*read, snapshot);
      EXPECT_TRUE(read->authentic);
    }
  }
}

TEST_F(SignedSnapshots, OthersAreRefused) {
  ExpectRefused(EncodeSnapshot(snapshot_, SampleFormat()).value(), keyed_, "has no HMAC");
  ExpectRefused(EncodeSnapshot(snapshot_, FormatWith(&other_)).value(), keyed_,
                "HMAC is not that of this server's snapshot key");
  const std::string unsigned_bytes = EncodeSnapshot(snapshot_, SampleFormat()).value();
  EXPECT_TRUE(absl::IsFailedPrecondition(DecodeSnapshotHead(unsigned_bytes, keyed_).status()));
  EXPECT_TRUE(DecodeSnapshotHead(EncodeSnapshot(snapshot_, keyed_).value(), keyed_).ok());
}

// Whoever changes a byte can make the checksum right again, and nothing else.
TEST_F(SignedSnapshots, AForgedByteAnywhereIsRefused) {
  const std::string bytes = EncodeSnapshot(snapshot_, keyed_).value();
  for (size_t i = 0; i + 8 < bytes.size(); ++i) {
    for (const int flip : {0x01, 0x80}) {
      std::string forged = bytes;
      forged[i] = static_cast<char>(forged[i] ^ flip);
      EXPECT_FALSE(DecodeSnapshot(Sealed(forged), keyed_).ok()) << i;
    }
  }
  for (size_t size = 8; size < bytes.size(); ++size) {
    EXPECT_FALSE(DecodeSnapshot(Sealed(bytes.substr(0, size)), keyed_).ok()) << size;
  }
}

// So that an operator can give the key up. Nobody vouches for what was read so.
TEST_F(SignedSnapshots, AreReadWithoutAKey) {
  const auto read = DecodeSnapshot(EncodeSnapshot(snapshot_, keyed_).value(), SampleFormat());
  ASSERT_TRUE(read.ok()) << read.status();
  ExpectSame(*read, snapshot_);
  EXPECT_FALSE(read->authentic);
}

}  // namespace
}  // namespace retnet
