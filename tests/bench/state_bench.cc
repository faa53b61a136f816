// What a state costs to copy, take out and put back, beside computing it again:
//   state_bench DIR [--benchmark_…]
// for sessions of 96, 512 and 2,048 tokens, through the seam that the engine uses. `MB` is what
// moves; a fork moves the tail alone.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <iostream>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "benchmark/benchmark.h"
#include "models/load.h"

namespace retnet {
namespace {

void Check(const absl::Status& status) {
  if (status.ok()) return;
  std::cerr << status << std::endl;
  std::exit(1);
}

// Slot 0 then holds a state of so many tokens.
void Prefill(Model& model, int32_t tokens) {
  Check(model.Clear(0));
  const std::vector<TokenId> text(model.info().max_rows, 7);
  StepResult result;
  for (int32_t done = 0; done < tokens;) {
    const int32_t rows = std::min(tokens - done, model.info().max_rows);
    Segment segment;
    segment.position = done;
    segment.tokens = std::span(text).first(rows);
    Check(model.Launch({&segment, 1}));
    Check(model.Wait(&result));
    done += rows;
  }
}

void SetBytes(benchmark::State& state, int64_t bytes) {
  state.counters["MB"] = static_cast<double>(bytes) / 1e6;
}

void Register(Model* model, int32_t tokens) {
  const auto add = [&](const std::string& name, auto&& body) {
    benchmark::RegisterBenchmark(absl::StrCat(name, "/", tokens).c_str(), body)
        ->Unit(benchmark::kMillisecond)
        ->UseRealTime();
  };
  add("prefill", [=](benchmark::State& state) {
    for (auto _ : state) Prefill(*model, tokens);
  });
  add("fork", [=](benchmark::State& state) {
    Prefill(*model, tokens);
    for (auto _ : state) {
      Check(model->Fork(0, 1));
      Check(model->Clear(1));
    }
    SetBytes(state, model->info().tail_token_bytes * ((tokens - 1) % model->info().chunk + 1));
  });
  add("read", [=](benchmark::State& state) {
    Prefill(*model, tokens);
    std::vector<std::byte> bytes(model->StateBytes(model->state(0)));
    for (auto _ : state) Check(model->StartRead(0, bytes).status());
    SetBytes(state, static_cast<int64_t>(bytes.size()));
  });
  add("write", [=](benchmark::State& state) {
    Prefill(*model, tokens);
    const Model::StateShape shape = model->state(0);
    std::vector<std::byte> bytes(model->StateBytes(shape));
    Check(model->StartRead(0, bytes).status());
    for (auto _ : state) {
      Check(model->Clear(1));
      Check(model->StartWrite(bytes, shape, 1).status());
    }
    SetBytes(state, static_cast<int64_t>(bytes.size()));
    Check(model->Clear(1));
  });
}

}  // namespace
}  // namespace retnet

int main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  if (argc != 2) {
    std::cerr << "usage: state_bench DIR [--benchmark_...]\n";
    return 2;
  }
  retnet::ModelOptions options;
  options.device = "cpu";  // where a transfer is over when its call is
  options.slots = 2;
  auto model = retnet::LoadModel(argv[1], options);
  retnet::Check(model.status());
  for (const int32_t tokens : {96, 512, 2048}) retnet::Register(model->get(), tokens);
  benchmark::RunSpecifiedBenchmarks();
}
