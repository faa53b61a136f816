// Retention of decode steps, compared with the limit of the memory: one token of each sequence
// through one layer. The benchmark cycles through layers, so that their states come from memory.
//   deferred   the operator: a base that is read, a tail, and a fold in 64 tokens
//   samples    the same, of samples of one prompt that share its base and do not fold
//   textbook   the recurrence that reads and writes the whole state for every token
// `layer_step` is the time of one layer in one step, the mean over tails of all lengths; `roof` the
// share of the bytes a second that can be read. Writes come on top, so the textbook's may pass 1.
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <random>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "benchmark/benchmark.h"
#include "kernels/cpu/cpu_kernels.h"
#include "kernels/cpu/rows.h"
#include "kernels/cpu/thread_pool.h"
#include "tests/bench/roofs.h"
#include "tests/bench/textbook_recurrence.h"

namespace retnet {
namespace {

enum class Form { kDeferred, kSamples, kTextbook };

struct RetentionCase {
  std::string name;
  Form form;
  RetentionShape shape;  // one layer
  int32_t sessions;
  int32_t threads;
};

// The bytes that a step of one layer has to move.
double BytesOf(const RetentionCase& c) {
  const auto base = static_cast<double>(cpu::CpuStates::BaseBytes(c.shape));
  if (c.form == Form::kTextbook) return c.sessions * 2 * base;
  const double tail = kChunk / 2.0 * static_cast<double>(cpu::CpuStates::TailTokenBytes(c.shape));
  return c.form == Form::kSamples ? base + c.sessions * tail
                                  : c.sessions * (base * (1 + 2.0 / kChunk) + tail);
}

// The size of the states that the benchmark cycles through: many times a last-level cache.
constexpr int64_t kColdBytes = int64_t{256} << 20;

RetentionShape ColdShape(const RetentionCase& c) {
  RetentionShape shape = c.shape;
  shape.slots = c.sessions;
  const int64_t bases = c.form == Form::kSamples ? 1 : c.sessions;
  const int64_t tails = c.form == Form::kTextbook ? 0 : c.sessions;
  const int64_t layer = bases * cpu::CpuStates::BaseBytes(c.shape) +
                        tails * kChunk / 2 * cpu::CpuStates::TailTokenBytes(c.shape);
  shape.layers = static_cast<int32_t>((kColdBytes + layer - 1) / layer);
  return shape;
}

// The inputs of both forms: rows of random projections, and a norm.
struct Rows {
  Rows(const RetentionCase& c, cpu::CpuKernels& kernels) : count(c.sessions) {
    const RetentionShape& shape = c.shape;
    std::mt19937 random(1);
    std::normal_distribution<float> normal;
    std::vector<float> numbers(count * shape.ProjectionColumns());
    for (float& number : numbers) number = normal(random);
    projections = *kernels.Upload(numbers);
    norm_weight = *kernels.Upload(std::vector<float>(shape.value_dim, 1.0f));
    out = *kernels.Allocate(count * shape.OutputColumns());
    tables =
        *kernels.AllocatePositionTables(count, std::vector<double>(shape.key_dim / 2, 0.01), {});
    input = {projections.data(), count, shape.ProjectionColumns()};
    output = {out.data(), count, shape.OutputColumns()};
  }
  Norm norm() const { return {norm_weight.data(), 1e-6f}; }

  int64_t count;
  cpu::CpuKernels::Buffer projections, norm_weight, out;
  cpu::CpuKernels::PositionTables tables;
  MatrixView<const float> input;
  MatrixView<float> output;
};

std::vector<float> Decays(const RetentionShape& shape) {
  std::vector<float> decays;
  for (int32_t head = 0; head < shape.heads; ++head) decays.push_back(1 - std::exp2(-5.0f - head));
  return decays;
}

// The pieces of a step in which each sequence has `tail` tokens after its base.
std::vector<RetentionPiece> StepPieces(const RetentionCase& c, int32_t tail) {
  std::vector<RetentionPiece> pieces;
  for (int32_t i = 0; i < c.sessions; ++i) {
    const bool shared = c.form == Form::kSamples;
    const int32_t base = shared ? 0 : i;
    const bool folds = !shared && tail == 0;
    pieces.push_back({.slot = i,
                      .first_row = i,
                      .rows = 1,
                      .position = kChunk + tail,
                      .tail = tail,
                      .base = base,
                      .folds = folds,
                      .fold_source = folds ? base : kZeroBase});
  }
  return pieces;
}

// Calls layer(tail, i) for each token of a chunk and each layer, in the order of a server's steps.
template <typename Layer>
void RunChunks(benchmark::State& state, const RetentionCase& c, cpu::CpuKernels& kernels,
               Rows& rows, const Layer& layer) {
  const int32_t layers = ColdShape(c).layers;
  for (auto _ : state) {
    for (int32_t tail = 0; tail < kChunk; ++tail) {
      kernels.FillPositionTables(std::vector<int32_t>(c.sessions, kChunk + tail), rows.tables);
      for (int32_t i = 0; i < layers; ++i) layer(tail, i);
    }
  }
}

void RunDeferred(benchmark::State& state, const RetentionCase& c, cpu::CpuKernels& kernels,
                 Rows& rows) {
  const RetentionShape shape = ColdShape(c);
  cpu::CpuStates states = *kernels.AllocateStates(shape, Decays(shape));
  const std::vector<std::byte> base(cpu::CpuStates::BaseBytes(shape));
  const std::vector<std::byte> tail(kChunk * cpu::CpuStates::TailTokenBytes(shape));
  for (int32_t i = 0; i < c.sessions; ++i) {
    kernels.WriteBase(base, i, states);
    kernels.WriteTail(tail, kChunk, i, states);
  }
  (void)kernels.Finish();
  std::vector<std::vector<RetentionPiece>> pieces;
  std::vector<std::vector<RetentionSegment>> segments(kChunk);
  for (int32_t t = 0; t < kChunk; ++t) {
    for (const RetentionPiece& piece : pieces.emplace_back(StepPieces(c, t))) {
      segments[t].push_back({&piece, 1});
    }
  }
  RunChunks(state, c, kernels, rows, [&](int32_t t, int32_t layer) {
    kernels.Retention(layer, kernels.PlanRetention(segments[t]), rows.input, rows.tables,
                      rows.norm(), states, rows.output);
  });
}

void RunTextbook(benchmark::State& state, const RetentionCase& c, cpu::CpuKernels& kernels,
                 Rows& rows) {
  const RetentionShape shape = ColdShape(c);
  const std::vector<float> decays = Decays(shape);
  const int64_t matrix = int64_t{shape.key_dim} * shape.value_dim;
  const auto states =
      *cpu::AlignedArray<float>::Make(int64_t{shape.layers} * c.sessions * shape.heads * matrix);
  std::fill_n(states.data(), states.size(), 0.0f);
  cpu::ThreadPool pool(c.threads);
  const auto rotated = *kernels.Allocate(int64_t{c.threads} * 2 * shape.key_dim);
  const RecurrentStep step = RecurrentStepFor(kernels.instruction_set());
  const cpu::RowOperators row_operators = cpu::RowOperatorsFor(kernels.instruction_set());
  const int64_t pairs = shape.key_dim / 2;
  RunChunks(state, c, kernels, rows, [&](int32_t /*tail*/, int32_t layer) {
    pool.Run(int64_t{c.sessions} * shape.heads, [&](int64_t task, int32_t thread) {
      const int64_t row = task / shape.heads;
      const int64_t head = task % shape.heads;
      const float* columns = rows.input.row(row);
      const float* keys = columns + shape.heads * shape.key_dim;
      const float* values = keys + shape.kv_heads * shape.key_dim;
      const float* gates = values + shape.kv_heads * shape.value_dim;
      float* out = rows.output.row(row) + head * shape.value_dim;
      step({.q = columns + head * shape.key_dim,
            .k = keys + head * shape.key_dim,
            .v = values + head * shape.value_dim,
            .cosines = rows.tables.cosines.data() + row * pairs,
            .sines = rows.tables.sines.data() + row * pairs,
            .decay = decays[head],
            .key_dim = shape.key_dim,
            .value_dim = shape.value_dim,
            .state = states.data() + (int64_t{layer} * c.sessions * shape.heads + task) * matrix,
            .rotated = rotated.data() + thread * 2 * shape.key_dim,
            .out = out});
      row_operators.normalize(out, shape.value_dim, rows.norm(), out);
      row_operators.activate(Activation::kSilu, gates + head * shape.value_dim, out,
                             shape.value_dim, out);
    });
  });
}

void RunRetention(benchmark::State& state, const RetentionCase& c) {
  cpu::CpuKernels kernels({.threads = c.threads, .max_rows = c.sessions});
  Rows rows(c, kernels);
  const auto run = c.form == Form::kTextbook ? RunTextbook : RunDeferred;
  run(state, c, kernels, rows);
  using benchmark::Counter;
  constexpr auto kRate = Counter::kIsIterationInvariantRate;
  const double steps = static_cast<double>(kChunk) * ColdShape(c).layers;
  const double bytes = steps * BytesOf(c);
  const Roofs& roofs = RoofsOf(kernels.instruction_set(), c.threads);
  state.counters["layer_step"] = Counter(steps, kRate | Counter::kInvert);
  state.counters["bytes/s"] = Counter(bytes, kRate);
  state.counters["roof"] = Counter(bytes / roofs.bytes_per_second, kRate);
}

void RegisterAll() {
  const std::pair<const char*, RetentionShape> shapes[] = {
      {"demo", {.layers = 1, .heads = 3, .kv_heads = 3, .key_dim = 64, .value_dim = 128}},
      {"1.3B", {.layers = 1, .heads = 8, .kv_heads = 8, .key_dim = 256, .value_dim = 512}}};
  const std::pair<const char*, Form> forms[] = {
      {"deferred", Form::kDeferred}, {"samples", Form::kSamples}, {"textbook", Form::kTextbook}};
  for (const auto& [shape_name, shape] : shapes) {
    for (int32_t sessions : {1, 4, 8, 32}) {
      for (int32_t threads : {1, 2}) {
        for (const auto& [form_name, form] : forms) {
          const RetentionCase c{absl::StrCat(shape_name, "/", form_name, "/sessions:", sessions,
                                             "/threads:", threads),
                                form, shape, sessions, threads};
          auto* registered = benchmark::RegisterBenchmark(c.name.c_str(), RunRetention, c)
                                 ->Unit(benchmark::kMillisecond);
          // One thread is timed while it has a processor; of several, the slowest counts.
          if (threads > 1) registered->UseRealTime();
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
