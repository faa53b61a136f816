#include "tests/bench/roofs.h"

#include <time.h>

#include <algorithm>
#include <cstdint>
#include <map>
#include <numeric>
#include <utility>
#include <vector>

#include "kernels/cpu/aligned_array.h"
#include "kernels/cpu/thread_pool.h"

// Highway's headers come after the choice of targets.
#include "kernels/cpu/targets-inl.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "tests/bench/roofs.cc"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
// After foreach_target.h:
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace retnet {
namespace HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;
using Tag = hn::CappedTag<float, 16>;
constexpr int64_t kLanes = hn::MaxLanes(Tag());

// `steps` rounds of independent multiply-adds in registers; returns the operations.
double RunMultiplyAdds(int64_t steps) {
  constexpr int kChains = HWY_TARGET == HWY_AVX3 ? 24 : 12;
  const Tag d;
  const auto factor = hn::Set(d, 0.5f);
  hn::Vec<Tag> sums[kChains];
#pragma GCC unroll 24
  for (int i = 0; i < kChains; ++i) sums[i] = hn::Set(d, 1.0f);
  for (int64_t step = 0; step < steps; ++step) {
#pragma GCC unroll 24
    for (int i = 0; i < kChains; ++i) {
      sums[i] = hn::MulAdd(sums[i], factor, factor);
#if HWY_TARGET == HWY_AVX3
      asm volatile("" : "+v"(sums[i].raw));  // any of 32 registers
#elif HWY_ARCH_X86
      asm volatile("" : "+x"(sums[i].raw));
#endif
    }
  }
  return 2.0 * kChains * kLanes * static_cast<double>(steps);
}

// A sum, so that the reads are needed.
float ReadAll(const float* data, int64_t size) {
  const Tag d;
  hn::Vec<Tag> sums[8];
  for (auto& sum : sums) sum = hn::Zero(d);
  for (int64_t i = 0; i + 8 * kLanes <= size; i += 8 * kLanes) {
#pragma GCC unroll 8
    for (int j = 0; j < 8; ++j) sums[j] = hn::Add(sums[j], hn::LoadU(d, data + i + j * kLanes));
  }
  for (int j = 1; j < 8; ++j) sums[0] = hn::Add(sums[0], sums[j]);
  return hn::GetLane(hn::SumOfLanes(d, sums[0]));
}

using Functions = std::pair<double (*)(int64_t), float (*)(const float*, int64_t)>;
Functions MakeFunctions() { return {RunMultiplyAdds, ReadAll}; }

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace retnet
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace retnet {
namespace {

double ThreadSeconds() {
  timespec time;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

// The best rate of `amount(task)` a second over runs on all threads at once: the sum of the
// threads' own rates, each in the time that it had a processor.
template <typename Amount>
double BestRate(cpu::ThreadPool& pool, const Amount& amount) {
  double best = 0;
  for (int run = 0; run < 15; ++run) {
    std::vector<double> rates(pool.threads());
    pool.Run(pool.threads(), [&](int64_t task, int32_t) {
      const double start = ThreadSeconds();
      const double done = amount(task);
      rates[task] = done / (ThreadSeconds() - start);
    });
    best = std::max(best, std::accumulate(rates.begin(), rates.end(), 0.0));
  }
  return best;
}

Roofs Measure(cpu::InstructionSet set, int32_t threads) {
  const auto [run_multiply_adds, read_all] = RETNET_FOR_INSTRUCTION_SET(set, MakeFunctions);
  cpu::ThreadPool pool(threads);
  Roofs roofs;
  roofs.flops_per_second =
      BestRate(pool, [run = run_multiply_adds](int64_t) { return run(1 << 18); });
  roofs.bfloat16_flops_per_second =
      set == cpu::InstructionSet::kAvx512Bf16
          ? BestRate(pool, [](int64_t) { return RunBFloat16Dots(1 << 18); })
          : roofs.flops_per_second;
  const int64_t size = (int64_t{1} << 26) / threads;  // 256 MiB in all
  cpu::AlignedArray<float> memory = *cpu::AlignedArray<float>::Make(size * threads);
  std::fill_n(memory.data(), memory.size(), 1.0f);
  roofs.bytes_per_second = BestRate(pool, [&, read = read_all](int64_t task) {
    volatile float sum = read(memory.data() + task * size, size);
    (void)sum;
    return static_cast<double>(size * sizeof(float));
  });
  return roofs;
}

}  // namespace

const Roofs& RoofsOf(cpu::InstructionSet set, int32_t threads) {
  static std::map<std::pair<cpu::InstructionSet, int32_t>, Roofs> measured;
  const auto key = std::make_pair(set, threads);
  const auto found = measured.find(key);
  if (found != measured.end()) return found->second;
  return measured[key] = Measure(set, threads);
}

}  // namespace retnet
#endif  // HWY_ONCE
