// Steps of a whole model through the interface that the engine uses, compared with the limits of
// the machine:
//   model_bench DIR [THREADS [INSTRUCTION_SET]] [--benchmark_…]
//   model_bench DIR cuda [--benchmark_…]        on a GPU, for tests/bench/gpu_report.sh: without
//   `roof`
// `roof` is the share of the limit that binds: of memory's bytes a second, or of multiply-adds. A
// decode step's bytes are the weights' that it reads and, for each sequence, its base with a fold's
// share and a half full tail; samples of one prompt read one base together.
#include <algorithm>
#include <cstdint>
#include <iostream>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "benchmark/benchmark.h"
#include "kernels/cpu/available_cores.h"
#include "kernels/cpu/instruction_set.h"
#include "kernels/kernels.h"
#include "models/config.h"
#include "models/load.h"
#include "tests/bench/roofs.h"

namespace retnet {
namespace {

constexpr int32_t kMostSequences = 32;
constexpr int32_t kMostSequencesOnGpu = 64;

struct Subject {
  std::unique_ptr<Model> model;
  RetNetConfig config;
  Roofs roofs;
  bool bfloat16_products = false;
  bool on_gpu = false;

  // Counts the weights that every row of a step is multiplied by; those of the output projection
  // are counted separately.
  int64_t LayerParameters() const {
    const int64_t embedding = int64_t{config.vocab_size} * config.hidden_size;
    return config.Parameters() - embedding * (config.tied ? 1 : 2);
  }
  double StepWeightBytes() const {
    const int64_t embedding = int64_t{config.vocab_size} * config.hidden_size;
    const double all = static_cast<double>(model->info().weight_bytes);
    return config.tied ? all : all * (1.0 - static_cast<double>(embedding) / config.Parameters());
  }
};

void Run(Subject& subject, std::span<const Segment> segments, benchmark::State& state) {
  static StepResult result;
  absl::Status status = subject.model->Launch(segments);
  if (status.ok()) status = subject.model->Wait(&result);
  if (!status.ok()) state.SkipWithError(std::string(status.message()).c_str());
}

RowOutput Greedy(int32_t row) {
  RowOutput output;
  output.row = row;
  output.request.sampling.temperature = 0;
  return output;
}

void Report(benchmark::State& state, const Subject& subject, double tokens, double bytes,
            double flops) {
  using benchmark::Counter;
  constexpr auto kRate = Counter::kIsIterationInvariantRate;
  const double peak = subject.bfloat16_products ? subject.roofs.bfloat16_flops_per_second
                                                : subject.roofs.flops_per_second;
  state.counters["tokens/s"] = Counter(tokens, kRate);
  state.counters["bytes/s"] = Counter(bytes, kRate);
  state.counters["FLOP/s"] = Counter(flops, kRate);
  if (subject.on_gpu) return;
  state.counters["roof"] =
      Counter(std::max(bytes / subject.roofs.bytes_per_second, flops / peak), kRate);
}

// Decode steps of several sequences. With `shared`, they are samples of one prompt that keep
// reading its base: before a step that would fold, the tail is truncated.
void Decode(benchmark::State& state, Subject& subject, bool shared) {
  const auto sequences = static_cast<int32_t>(state.range(0));
  const ModelInfo& info = subject.model->info();
  const std::vector<TokenId> prompt(kChunk + 1, 1);  // so that there is a base to read
  const RowOutput last = Greedy(kChunk);
  const RowOutput only = Greedy(0);
  const TokenId token = kLastSampled;
  std::vector<Segment> segments(sequences);
  for (SlotId slot = 0; slot < sequences; ++slot) {
    segments[slot].slot = slot;
    segments[slot].tokens = prompt;
    segments[slot].outputs = {&last, 1};
    if (shared && slot > 0) {
      (void)subject.model->Fork(0, slot);
    } else {
      Run(subject, {&segments[slot], 1}, state);
    }
    segments[slot].row_class = RowClass::kSampled;
    segments[slot].tokens = {&token, 1};
    segments[slot].outputs = {&only, 1};
  }
  for (auto _ : state) {
    for (Segment& segment : segments) {
      const Model::StateShape at = subject.model->state(segment.slot);
      if (shared && at.position == at.base_position + kChunk) {
        (void)subject.model->Truncate(segment.slot, at.base_position + 1);
      }
      segment.position = subject.model->state(segment.slot).position;
    }
    Run(subject, segments, state);
  }
  for (SlotId slot = 0; slot < sequences; ++slot) (void)subject.model->Clear(slot);
  const double bases = shared ? 1.0 : sequences * (1.0 + 2.0 / kChunk);
  const double state_bytes = bases * static_cast<double>(info.base_bytes) +
                             sequences * kChunk / 2.0 * static_cast<double>(info.tail_token_bytes);
  const double head = static_cast<double>(subject.config.vocab_size) * subject.config.hidden_size;
  Report(state, subject, sequences, subject.StepWeightBytes() + state_bytes,
         2.0 * sequences * (static_cast<double>(subject.LayerParameters()) + head));
}

void Prefill(benchmark::State& state, Subject& subject) {
  const auto tokens = static_cast<int32_t>(state.range(0));
  std::vector<TokenId> prompt(tokens);
  for (int32_t i = 0; i < tokens; ++i) prompt[i] = i * 7 % subject.config.vocab_size;
  const RowOutput last = Greedy(tokens - 1);
  Segment segment;
  segment.tokens = prompt;
  segment.outputs = {&last, 1};
  for (auto _ : state) {
    Run(subject, {&segment, 1}, state);
    (void)subject.model->Clear(0);
  }
  Report(state, subject, tokens, subject.StepWeightBytes(),
         2.0 * tokens * static_cast<double>(subject.LayerParameters()));
}

int Main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  ModelOptions options;
  const bool on_gpu = argc == 3 && std::string(argv[2]) == "cuda";
  const int32_t most_sequences = on_gpu ? kMostSequencesOnGpu : kMostSequences;
  options.device = on_gpu ? "cuda" : "cpu";
  options.slots = most_sequences;
  if (argc < 2 || argc > 4 ||
      (argc > 2 && !on_gpu && !absl::SimpleAtoi(argv[2], &options.threads))) {
    std::cerr << "usage: model_bench DIR [cuda | THREADS [INSTRUCTION_SET]]\n";
    return 2;
  }
  if (argc > 3) options.instruction_set = argv[3];
  auto model = LoadModel(argv[1], options);
  const auto config = ReadConfig(argv[1]);
  if (!model.ok() || !config.ok()) {
    std::cerr << (model.ok() ? config.status() : model.status()) << "\n";
    return 1;
  }
  const cpu::InstructionSet set = options.instruction_set.empty()
                                      ? cpu::BestInstructionSet()
                                      : *cpu::ParseInstructionSet(options.instruction_set);
  const int32_t threads = options.threads > 0 ? options.threads : cpu::AvailableCores();
  Subject subject{*std::move(model), *config, on_gpu ? Roofs() : RoofsOf(set, threads),
                  set == cpu::InstructionSet::kAvx512Bf16, on_gpu};
  const ModelInfo& info = subject.model->info();
  benchmark::AddCustomContext("model", info.name);
  benchmark::AddCustomContext("backend", info.backend);
  benchmark::AddCustomContext("parameters", absl::StrCat(info.parameters));
  if (!on_gpu) {
    benchmark::AddCustomContext("memory bytes/s", absl::StrCat(subject.roofs.bytes_per_second));
  }
  auto* decode = benchmark::RegisterBenchmark(
      "Decode", [&](benchmark::State& state) { Decode(state, subject, /*shared=*/false); });
  decode->ArgName("sequences");
  for (int sequences : {1, 4, 8, 16, most_sequences}) decode->Arg(sequences);
  auto* samples = benchmark::RegisterBenchmark(
      "Samples", [&](benchmark::State& state) { Decode(state, subject, /*shared=*/true); });
  samples->ArgName("sequences");
  for (int sequences : {1, 4, 8}) samples->Arg(sequences);
  auto* prefill = benchmark::RegisterBenchmark(
      "Prefill", [&](benchmark::State& state) { Prefill(state, subject); });
  prefill->ArgName("tokens")->Arg(kChunk)->Arg(512);
  for (auto* registered : {decode, samples, prefill}) {
    registered->Unit(benchmark::kMillisecond);
    // One thread is timed while it has a processor; of several, the slowest counts.
    if (threads > 1 || on_gpu) registered->UseRealTime();
  }
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}

}  // namespace
}  // namespace retnet

int main(int argc, char** argv) { return retnet::Main(argc, argv); }
