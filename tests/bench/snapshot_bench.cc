// The cost of a snapshot: its bytes, writing it to a store and reading it back, and the error from
// rounding a state.
// Stores are named by the environment: SNAPSHOT_BENCH_DISK, a folder, and SNAPSHOT_BENCH_REDIS, a
// URL. A store that is not set is skipped. The stores are left as they were found.
#include <benchmark/benchmark.h>

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "engine/snapshots/open_snapshot_store.h"
#include "engine/snapshots/snapshot.h"

namespace retnet {
namespace {

struct Shape {
  const char* name;
  int64_t base_bytes;
  int64_t tail_token_bytes;
};
// The demo: 6 layers, 3 heads, key_dim 64, value_dim 128. 1.3B: 24 layers, 8 heads, key_dim 256,
// value_dim 512 (fla's retnet-1.3B-100B).
constexpr Shape kShapes[] = {{"demo", 4 * 6 * 3 * 64 * 128, 4 * 6 * 3 * (64 + 128)},
                             {"1.3b", 4 * 24 * 8 * 256 * 512, 4 * 24 * 8 * (256 + 512)}};
constexpr int32_t kTail = 32;  // tokens: half a chunk, which is the mean
constexpr int32_t kBase = 2048;

struct Storage {
  const char* name;
  StateEncoding encoding;
  int zstd_level;
};
constexpr Storage kStorages[] = {
    {"exact", StateEncoding::kExact, 0},       {"exact+zstd1", StateEncoding::kExact, 1},
    {"exact+zstd3", StateEncoding::kExact, 3}, {"bf16", StateEncoding::kBf16, 0},
    {"bf16+zstd1", StateEncoding::kBf16, 1},   {"int8", StateEncoding::kInt8, 0},
    {"int8+zstd1", StateEncoding::kInt8, 1}};

SnapshotFormat FormatOf(const Shape& shape, const Storage& storage) {
  return {.model_fingerprint = 1,
          .vocab_size = 1 << 16,
          .chunk = 64,
          .base_bytes = shape.base_bytes,
          .tail_token_bytes = shape.tail_token_bytes,
          .encoding = storage.encoding,
          .zstd_level = storage.zstd_level};
}

// Numbers as states have them in this only: normal, each row on a scale of its own.
Snapshot MakeSnapshot(const Shape& shape) {
  Snapshot snapshot;
  snapshot.key = {"benchmark", shape.name};
  snapshot.history.assign(kBase + kTail + 1, 7);
  snapshot.shape = {kBase, kBase + kTail};
  ByteVector state(shape.base_bytes + kTail * shape.tail_token_bytes);
  std::mt19937 random(1);
  std::normal_distribution<float> normal;
  float scale = 1;
  for (size_t i = 0; i < state.size() / 4; ++i) {
    if (i % 128 == 0) scale = std::exp2(2 * normal(random));
    const float number = scale * normal(random);
    std::memcpy(state.data() + i * 4, &number, 4);
  }
  snapshot.state = std::make_shared<const ByteVector>(std::move(state));
  return snapshot;
}

const Snapshot& SnapshotOf(const Shape& shape) {
  static const Snapshot demo = MakeSnapshot(kShapes[0]);
  static const Snapshot large = MakeSnapshot(kShapes[1]);
  return &shape == &kShapes[0] ? demo : large;
}

// The root mean square of the error, relative to that of the numbers.
double RelativeError(const ByteVector& found, const ByteVector& exact) {
  double error = 0;
  double power = 0;
  for (size_t i = 0; i < exact.size(); i += 4) {
    float a, b;
    std::memcpy(&a, found.data() + i, 4);
    std::memcpy(&b, exact.data() + i, 4);
    error += (double{a} - b) * (double{a} - b);
    power += double{b} * b;
  }
  return std::sqrt(error / power);
}

void CountBytes(benchmark::State& state, const Snapshot& snapshot, size_t stored) {
  state.SetBytesProcessed(state.iterations() * static_cast<int64_t>(snapshot.state->size()));
  state.counters["stored_MB"] = static_cast<double>(stored) / 1e6;
}

void Encode(benchmark::State& state, const Shape& shape, const Storage& storage) {
  const Snapshot& snapshot = SnapshotOf(shape);
  size_t stored = 0;
  for (auto _ : state) stored = EncodeSnapshot(snapshot, FormatOf(shape, storage)).value().size();
  CountBytes(state, snapshot, stored);
}

void Decode(benchmark::State& state, const Shape& shape, const Storage& storage) {
  const Snapshot& snapshot = SnapshotOf(shape);
  const SnapshotFormat format = FormatOf(shape, storage);
  const std::string bytes = EncodeSnapshot(snapshot, format).value();
  Snapshot decoded;
  for (auto _ : state) decoded = DecodeSnapshot(bytes, format).value();
  CountBytes(state, snapshot, bytes.size());
  state.counters["relative_error"] = RelativeError(*decoded.state, *snapshot.state);
}

void Put(benchmark::State& state, const Shape& shape, const Storage& storage,
         SnapshotStore* store) {
  const Snapshot& snapshot = SnapshotOf(shape);
  const std::string bytes = EncodeSnapshot(snapshot, FormatOf(shape, storage)).value();
  for (auto _ : state) {
    const absl::Status status = store->Put(snapshot.key, bytes, absl::InfiniteFuture(), {});
    if (!status.ok()) state.SkipWithError(status.ToString().c_str());
  }
  CountBytes(state, snapshot, bytes.size());
  (void)store->Delete(snapshot.key);
}

void Get(benchmark::State& state, const Shape& shape, const Storage& storage,
         SnapshotStore* store) {
  const Snapshot& snapshot = SnapshotOf(shape);
  const std::string bytes = EncodeSnapshot(snapshot, FormatOf(shape, storage)).value();
  const absl::Status put = store->Put(snapshot.key, bytes, absl::InfiniteFuture(), {});
  if (!put.ok()) state.SkipWithError(put.ToString().c_str());
  for (auto _ : state) {
    if (store->Get(snapshot.key).value_or("") != bytes) state.SkipWithError("other bytes");
  }
  CountBytes(state, snapshot, bytes.size());
  (void)store->Delete(snapshot.key);
}

void Register(const std::string& name, const Storage& storage,
              std::function<void(benchmark::State&)> run) {
  benchmark::RegisterBenchmark((name + "/" + storage.name).c_str(), std::move(run))
      ->Unit(benchmark::kMillisecond)
      ->UseRealTime();
}

// A store sees sizes alone, so compressed ones tell it nothing new.
absl::Status RegisterStore(const std::string& name, const std::string& spec) {
  auto opened = OpenSnapshotStore(spec, 0);
  if (!opened.ok()) return opened.status();
  SnapshotStore* const store = opened->release();  // lives as long as the process
  for (const Shape& shape : kShapes) {
    for (const Storage& storage : kStorages) {
      if (storage.zstd_level != 0) continue;
      const std::string where = name + "/" + shape.name;
      Register("Put/" + where, storage, [&shape, &storage, store](benchmark::State& state) {
        Put(state, shape, storage, store);
      });
      Register("Get/" + where, storage, [&shape, &storage, store](benchmark::State& state) {
        Get(state, shape, storage, store);
      });
    }
  }
  return absl::OkStatus();
}

absl::Status RegisterAll() {
  for (const Shape& shape : kShapes) {
    for (const Storage& storage : kStorages) {
      Register(std::string("Encode/") + shape.name, storage,
               [&](benchmark::State& state) { Encode(state, shape, storage); });
      Register(std::string("Decode/") + shape.name, storage,
               [&](benchmark::State& state) { Decode(state, shape, storage); });
    }
  }
  absl::Status status;
  if (const char* folder = std::getenv("SNAPSHOT_BENCH_DISK")) {
    status.Update(RegisterStore("disk", std::string("disk:") + folder));
  }
  if (const char* url = std::getenv("SNAPSHOT_BENCH_REDIS")) {
    status.Update(RegisterStore("redis", url));
  }
  return status;
}

}  // namespace
}  // namespace retnet

int main(int count, char** arguments) {
  benchmark::Initialize(&count, arguments);
  const absl::Status status = retnet::RegisterAll();
  if (!status.ok()) {
    std::fprintf(stderr, "%s\n", status.ToString().c_str());
    return 1;
  }
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
