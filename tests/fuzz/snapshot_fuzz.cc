// Any bytes as a snapshot, as they are and with the checksum that is right for them: an error, or
// a snapshot that can be written again and is the same then.
#include <xxhash.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>

#include "engine/snapshots/snapshot.h"

namespace {

// A base of 40 numbers and tails of 6 a token, in chunks of 4, as the corpus has them.
constexpr retnet::SnapshotFormat kFormat = {.model_fingerprint = 0x0123456789ABCDEF,
                                            .vocab_size = 1000,
                                            .chunk = 4,
                                            .base_bytes = 160,
                                            .tail_token_bytes = 24};

void Run(const std::string& bytes) {
  const auto snapshot = retnet::DecodeSnapshot(bytes, kFormat);
  if (!snapshot.ok()) return;
  const auto written = retnet::EncodeSnapshot(*snapshot, kFormat);
  if (!written.ok()) std::abort();
  const auto again = retnet::DecodeSnapshot(*written, kFormat);
  if (!again.ok() || again->key != snapshot->key || again->labels != snapshot->labels ||
      again->history != snapshot->history || again->class_runs != snapshot->class_runs ||
      *again->state != *snapshot->state) {
    std::abort();
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string bytes(reinterpret_cast<const char*>(data), size);
  Run(bytes);
  constexpr size_t kChecksumBytes = 8;
  if (bytes.size() < kChecksumBytes) return 0;
  bytes.resize(bytes.size() - kChecksumBytes);
  const uint64_t checksum = XXH3_64bits(bytes.data(), bytes.size());
  bytes.append(reinterpret_cast<const char*>(&checksum), kChecksumBytes);
  Run(bytes);
  return 0;
}
