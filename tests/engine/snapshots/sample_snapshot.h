// Snapshots of a model of tiny states, for tests.
#ifndef RETNET_TESTS_ENGINE_SNAPSHOTS_SAMPLE_SNAPSHOT_H_
#define RETNET_TESTS_ENGINE_SNAPSHOTS_SAMPLE_SNAPSHOT_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "engine/snapshots/snapshot.h"

namespace retnet {

// A base of 40 numbers and tails of 6 a token, in chunks of 4.
SnapshotFormat SampleFormat();

// Of `length` tokens, all but the newest seen; numbers and tokens depend on the seed alone.
Snapshot SampleSnapshot(const SessionKey& key, int32_t length, uint32_t seed = 1);

// Every field, the state's bytes included.
void ExpectSame(const Snapshot& found, const Snapshot& expected);

}  // namespace retnet

#endif  // RETNET_TESTS_ENGINE_SNAPSHOTS_SAMPLE_SNAPSHOT_H_
