// Matrix products of CpuKernels, compared with the limits of the machine. The counter `roof` is the
// share of the limit that binds: the memory's bytes of weights per second, or multiply-adds per
// second.
#include <algorithm>
#include <cstdint>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "benchmark/benchmark.h"
#include "kernels/cpu/cpu_kernels.h"
#include "tests/bench/roofs.h"

namespace retnet {
namespace {

struct Shape {
  int64_t inputs;
  int64_t outputs;
};

struct MatMulCase {
  cpu::InstructionSet set;
  ElementType type;
  Shape shape;
  int64_t rows;
  int32_t threads;
  bool cold;  // weights come from memory: the benchmark cycles through copies of them
};

absl::string_view TypeName(ElementType type) {
  return type == ElementType::kFloat32 ? "f32" : type == ElementType::kFloat16 ? "f16" : "bf16";
}

std::string NameOf(const MatMulCase& c) {
  return absl::StrCat("Product/", Name(c.set), "/", TypeName(c.type), "/", c.shape.inputs, "x",
                      c.shape.outputs, "/rows:", c.rows, "/threads:", c.threads,
                      c.cold ? "/cold" : "/warm");
}

// Larger than any last-level cache.
constexpr int64_t kColdBytes = int64_t{192} << 20;

void RunMatMul(benchmark::State& state, const MatMulCase& c) {
  cpu::CpuKernels kernels(
      {.threads = c.threads, .instruction_set = c.set, .max_rows = static_cast<int32_t>(c.rows)});
  const auto [inputs, outputs] = c.shape;
  const int64_t bytes = inputs * outputs * static_cast<int64_t>(SizeOf(c.type));
  std::mt19937 random(1);
  std::vector<std::byte> data(bytes);
  for (int64_t i = 0; i + 2 <= bytes; i += 2) {  // small and finite in every type
    data[i] = static_cast<std::byte>(random());
    data[i + 1] = static_cast<std::byte>((random() & 0x80) | 0x30);
  }
  const HostTensor tensor{c.type, data.data(), outputs, inputs};
  std::vector<cpu::PackedWeight> weights;
  do {
    weights.push_back(*kernels.Pack({&tensor, 1}));
  } while (c.cold && static_cast<int64_t>(weights.size()) * bytes < kColdBytes);
  const cpu::CpuKernels::Buffer x = *kernels.Allocate(c.rows * inputs);
  const cpu::CpuKernels::Buffer y = *kernels.Allocate(c.rows * outputs);
  std::fill_n(x.data(), x.size(), 0.5f);

  size_t next = 0;
  for (auto _ : state) {
    kernels.NormMatMul({x.data(), c.rows, inputs}, Norm{}, weights[next],
                       {y.data(), c.rows, outputs});
    next = next + 1 < weights.size() ? next + 1 : 0;
  }

  using benchmark::Counter;
  const Roofs& roofs = RoofsOf(c.set, c.threads);
  const double flops = 2.0 * static_cast<double>(c.rows * inputs * outputs);
  const double peak =
      c.type == ElementType::kBFloat16 ? roofs.bfloat16_flops_per_second : roofs.flops_per_second;
  const double memory_time = c.cold ? static_cast<double>(bytes) / roofs.bytes_per_second : 0.0;
  constexpr auto kRate = Counter::kIsIterationInvariantRate;
  state.counters["bytes/s"] = Counter(static_cast<double>(bytes), kRate);
  state.counters["FLOP/s"] = Counter(flops, kRate);
  state.counters["roof"] = Counter(std::max(memory_time, flops / peak), kRate);
}

void RunRoofs(benchmark::State& state, cpu::InstructionSet set, int32_t threads) {
  const Roofs& roofs = RoofsOf(set, threads);
  for (auto _ : state) benchmark::DoNotOptimize(roofs);
  state.counters["bytes/s"] = roofs.bytes_per_second;
  state.counters["FLOP/s"] = roofs.flops_per_second;
  state.counters["bf16 FLOP/s"] = roofs.bfloat16_flops_per_second;
}

void RegisterMatMul(const MatMulCase& c) {
  auto* registered = benchmark::RegisterBenchmark(NameOf(c).c_str(), RunMatMul, c)
                         ->MinTime(0.2)
                         ->Unit(benchmark::kMicrosecond);
  // One thread is timed while it has a processor; of several, the slowest counts.
  if (c.threads > 1) registered->UseRealTime();
}

void RegisterAll() {
  const Shape demo[] = {{192, 1152}, {192, 1024}, {512, 192}, {192, 4096}};
  const Shape large[] = {{2048, 12288}, {4096, 2048}, {2048, 5632}, {2816, 2048}, {2048, 32000}};
  for (cpu::InstructionSet set : cpu::SupportedInstructionSets()) {
    for (int32_t threads : {1, 2}) {
      benchmark::RegisterBenchmark(absl::StrCat("Roofs/", Name(set), "/threads:", threads).c_str(),
                                   RunRoofs, set, threads)
          ->Iterations(1);
      for (int64_t rows : {1, 8, 32, 128, 512}) {
        for (ElementType type :
             {ElementType::kBFloat16, ElementType::kFloat16, ElementType::kFloat32}) {
          // The demo's weights all stay in a cache.
          for (Shape shape : demo) RegisterMatMul({set, type, shape, rows, threads, false});
          for (Shape shape : large) RegisterMatMul({set, type, shape, rows, threads, true});
        }
      }
    }
  }
}

}  // namespace
}  // namespace retnet

int main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  retnet::RegisterAll();
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
