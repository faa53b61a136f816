// The bytes that docs/snapshots.md shows are those that the code writes and reads.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <cstring>
#include <fstream>
#include <map>
#include <sstream>
#include <string>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_split.h"
#include "engine/snapshots/snapshot.h"
#include "tests/engine/snapshots/sample_snapshot.h"

namespace retnet {
namespace {

constexpr float kState[] = {1.0f, -0.5f, 0.1f};  // a base of two numbers, a tail of one

SnapshotFormat ExampleFormat() {
  return {.model_fingerprint = 0x0123456789ABCDEF,
          .vocab_size = 1000,
          .chunk = 4,
          .base_bytes = 8,
          .tail_token_bytes = 4};
}

Snapshot ExampleSnapshot() {
  Snapshot snapshot;
  snapshot.key = {"anonymous", "tale"};
  snapshot.labels = {{"lang", "en"}};
  snapshot.created = absl::FromUnixSeconds(1'700'000'000);
  snapshot.last_used = snapshot.created + absl::Seconds(60);
  snapshot.version = 2;
  snapshot.history = {1, 17, 5, 300, 42, 999};
  snapshot.class_runs = {4};
  snapshot.shape = {.base_position = 4, .position = 5};
  auto state = std::make_shared<ByteVector>(sizeof(kState));
  std::memcpy(state->data(), kState, sizeof(kState));
  snapshot.state = std::move(state);
  return snapshot;
}

// A row of a table: an offset or the name of an encoding, and bytes in hexadecimal.
struct Row {
  std::string name;
  std::string bytes;  // of the second column
};

std::vector<Row> RowsUnder(const std::string& heading) {
  std::ifstream file(RETNET_SOURCE_DIR "/docs/snapshots.md");
  std::string line;
  bool under = false;
  std::vector<Row> rows;
  while (std::getline(file, line)) {
    if (line.starts_with("#")) under = line == heading;
    const std::vector<std::string> cells = absl::StrSplit(line, '|');
    if (!under || cells.size() < 3 || !absl::StrContains(cells[2], '`')) continue;
    Row row;
    row.name = std::string(absl::StripAsciiWhitespace(cells[1]));
    std::istringstream hex(std::string(absl::StripAsciiWhitespace(cells[2])).erase(0, 1));
    for (unsigned byte; hex >> std::hex >> byte;) row.bytes += static_cast<char>(byte);
    rows.push_back(row);
  }
  return rows;
}

TEST(SnapshotDocument, ShowsTheBytesOfItsExample) {
  std::string shown;
  for (const Row& row : RowsUnder("## A worked example")) {
    EXPECT_EQ(row.name, std::to_string(shown.size()));
    shown += row.bytes;
  }
  const absl::StatusOr<std::string> written = EncodeSnapshot(ExampleSnapshot(), ExampleFormat());
  ASSERT_TRUE(written.ok()) << written.status();
  EXPECT_EQ(shown, *written);
  const absl::StatusOr<Snapshot> read = DecodeSnapshot(shown, ExampleFormat());
  ASSERT_TRUE(read.ok()) << read.status();
  ExpectSame(*read, ExampleSnapshot());
}

TEST(SnapshotDocument, ShowsTheBytesOfItsExampleSigned) {
  const std::string path = testing::TempDir() + "/snapshot_document_key";
  std::string bytes;
  for (char byte = 0; byte < 32; ++byte) bytes += byte;
  std::ofstream(path, std::ios::binary) << bytes;
  const SnapshotKey key = SnapshotKey::Read(path).value();
  SnapshotFormat format = ExampleFormat();
  format.key = &key;
  // What the table shows takes the place of what is there; the flags, and what is behind the state,
  // come in between.
  std::string expected = EncodeSnapshot(ExampleSnapshot(), ExampleFormat()).value();
  expected.insert(16, 1, '\0');
  expected.insert(196, 32, '\0');
  const std::vector<Row> rows = RowsUnder("### The example, signed");
  EXPECT_EQ(rows.size(), 4);
  for (const Row& row : rows) {
    expected.replace(std::stoul(row.name), row.bytes.size(), row.bytes);
  }
  const absl::StatusOr<std::string> written = EncodeSnapshot(ExampleSnapshot(), format);
  ASSERT_TRUE(written.ok()) << written.status();
  EXPECT_EQ(absl::BytesToHexString(expected), absl::BytesToHexString(*written));
  EXPECT_TRUE(DecodeSnapshot(expected, format).ok());
}

TEST(SnapshotDocument, ShowsItsStateInEveryEncoding) {
  std::map<std::string, std::string> shown;
  for (const Row& row : RowsUnder("### The example's state in every encoding")) {
    shown[row.name] = row.bytes;
  }
  const auto state = ExampleSnapshot().state;
  std::map<std::string, std::string> written;
  const auto write = [&](const std::string& name, StateEncoding encoding) {
    AppendEncodedState(*state, /*floats=*/3, encoding, &written[name]);
  };
  write("`exact`", StateEncoding::kExact);
  write("`bf16`", StateEncoding::kBf16);
  write("`int8`", StateEncoding::kInt8);
  EXPECT_EQ(shown, written);
}

}  // namespace
}  // namespace retnet
