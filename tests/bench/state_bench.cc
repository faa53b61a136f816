// The cost of copying a state, reading it and writing it back, compared with computing it again:
//   state_bench DIR [--benchmark_…]
// for sessions of 96, 512 and 2,048 tokens, through the seam that the engine uses. `MB` is what
// moves; a fork moves the tail alone. `stall` is how long, at most, the call that starts a transfer
// keeps its thread; `step_beside`, beside a transfer, and `step` what a decode step takes.
#include <algorithm>
#include <cstdint>
#include <iostream>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "benchmark/benchmark.h"
#include "models/load.h"
#include "tests/bench/transfers.h"

namespace retnet {
namespace {

void Step(Model& model, SlotId slot, std::span<const TokenId> tokens) {
  Segment segment;
  segment.slot = slot;
  segment.position = model.state(slot).position;
  segment.tokens = tokens;
  StepResult result;
  CheckOk(model.Launch({&segment, 1}));
  CheckOk(model.Wait(&result));
}

// Afterwards the slot holds a state of `tokens` tokens.
void Prefill(Model& model, SlotId slot, int32_t tokens) {
  CheckOk(model.Clear(slot));
  const std::vector<TokenId> text(model.info().max_rows, 7);
  while (tokens > 0) {
    const int32_t rows = std::min(tokens, model.info().max_rows);
    Step(model, slot, std::span(text).first(rows));
    tokens -= rows;
  }
}

void Report(benchmark::State& state, AwaitedTransfers& transfers, int64_t bytes) {
  state.counters["MB"] = static_cast<double>(bytes) / 1e6;
  state.counters["stall"] = absl::ToDoubleSeconds(transfers.TakeStall());
}

// A decode step of slot 1. With `beside`, the state of slot 0 is read all the time.
void RunSteps(benchmark::State& state, Model& model, AwaitedTransfers& transfers, bool beside) {
  const TokenId token = 7;
  std::vector<std::byte> bytes(model.StateBytes(model.state(0)));
  for (auto _ : state) {
    if (beside && transfers.over()) transfers.Read(0, bytes);
    Step(model, 1, {&token, 1});
  }
  transfers.Wait();
  CheckOk(model.Clear(1));
}

void Register(Model* model, AwaitedTransfers* transfers, int32_t tokens) {
  const auto add = [&](const std::string& name, auto&& body) {
    benchmark::RegisterBenchmark(absl::StrCat(name, "/", tokens).c_str(),
                                 [=](benchmark::State& state) {
                                   Prefill(*model, 0, tokens);
                                   (void)transfers->TakeStall();
                                   body(state);
                                 })
        ->Unit(benchmark::kMillisecond)
        ->UseRealTime();
  };
  add("prefill", [=](benchmark::State& state) {
    for (auto _ : state) Prefill(*model, 0, tokens);
  });
  add("fork", [=](benchmark::State& state) {
    for (auto _ : state) {
      CheckOk(model->Fork(0, 1));
      CheckOk(model->Clear(1));
    }
    const int64_t tail = (tokens - 1) % model->info().chunk + 1;
    Report(state, *transfers, model->info().tail_token_bytes * tail);
  });
  add("read", [=](benchmark::State& state) {
    std::vector<std::byte> bytes(model->StateBytes(model->state(0)));
    for (auto _ : state) {
      transfers->Read(0, bytes);
      transfers->Wait();
    }
    Report(state, *transfers, static_cast<int64_t>(bytes.size()));
  });
  add("write", [=](benchmark::State& state) {
    const Model::StateShape shape = model->state(0);
    std::vector<std::byte> bytes(model->StateBytes(shape));
    transfers->Read(0, bytes);
    transfers->Wait();
    for (auto _ : state) {
      CheckOk(model->Clear(1));
      transfers->Write(bytes, shape, 1);
      transfers->Wait();
    }
    Report(state, *transfers, static_cast<int64_t>(bytes.size()));
    CheckOk(model->Clear(1));
  });
  add("step",
      [=](benchmark::State& state) { RunSteps(state, *model, *transfers, /*beside=*/false); });
  add("step_beside",
      [=](benchmark::State& state) { RunSteps(state, *model, *transfers, /*beside=*/true); });
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
  options.device = "cpu";
  options.slots = 2;
  auto model = retnet::LoadModel(argv[1], options);
  retnet::CheckOk(model.status());
  retnet::AwaitedTransfers transfers(model->get());
  for (const int32_t tokens : {96, 512, 2048}) retnet::Register(model->get(), &transfers, tokens);
  benchmark::RunSpecifiedBenchmarks();
}
