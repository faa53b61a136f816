// Snapshots as bytes and back, for tests.
#ifndef RETNET_TESTS_ENGINE_SNAPSHOTS_SNAPSHOT_BYTES_H_
#define RETNET_TESTS_ENGINE_SNAPSHOTS_SNAPSHOT_BYTES_H_

#include <gtest/gtest.h>
#include <xxhash.h>

#include <cstdint>
#include <string>

#include "engine/snapshots/snapshot.h"

namespace retnet {

// An error fails the test.
inline Snapshot RoundTrip(const Snapshot& snapshot, const SnapshotFormat& format) {
  const auto bytes = EncodeSnapshot(snapshot, format);
  EXPECT_TRUE(bytes.ok()) << bytes.status();
  auto decoded = bytes.ok() ? DecodeSnapshot(*bytes, format) : bytes.status();
  EXPECT_TRUE(decoded.ok()) << decoded.status();
  return decoded.value_or(Snapshot());
}

// The bytes with a checksum that is right for them.
inline std::string Sealed(std::string bytes) {
  bytes.resize(bytes.size() - 8);
  const uint64_t checksum = XXH3_64bits(bytes.data(), bytes.size());
  bytes.append(reinterpret_cast<const char*>(&checksum), 8);
  return bytes;
}

}  // namespace retnet

#endif  // RETNET_TESTS_ENGINE_SNAPSHOTS_SNAPSHOT_BYTES_H_
