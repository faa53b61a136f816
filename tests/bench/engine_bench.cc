// The cost of a step and of a token in the engine itself, with a model that costs almost nothing.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "absl/time/clock.h"
#include "engine/engine.h"

namespace retnet {
namespace {

constexpr int32_t kOutput = 1000;  // tokens of a request

// A model that samples tokens 0, 1, 2, … for every request.
class FreeModel : public Model {
 public:
  explicit FreeModel(int32_t slots) {
    info_.vocab_size = 32000;
    info_.slots = slots;
    info_.max_rows = 512;
    info_.chunk = 64;
  }

  const ModelInfo& info() const override { return info_; }
  absl::Status Launch(std::span<const Segment> segments) override {
    outputs_ = 0;
    for (const Segment& segment : segments) outputs_ += segment.outputs.size();
    return absl::OkStatus();
  }
  absl::Status Wait(StepResult* result) override {
    result->results.resize(outputs_);
    for (SampleResult& result : result->results) result.token = next_++ % info_.vocab_size;
    return absl::OkStatus();
  }
  absl::Status Clear(SlotId) override { return absl::OkStatus(); }

  // The engine does not call these.
  absl::Status Fork(SlotId, SlotId, int32_t) override { return absl::UnimplementedError("Fork"); }
  absl::Status Truncate(SlotId, int32_t) override { return absl::UnimplementedError("Truncate"); }
  StateShape state(SlotId) const override { return {}; }
  absl::StatusOr<Ticket> StartRead(SlotId, std::span<std::byte>) override {
    return absl::UnimplementedError("StartRead");
  }
  absl::StatusOr<Ticket> StartWrite(std::span<const std::byte>, StateShape, SlotId) override {
    return absl::UnimplementedError("StartWrite");
  }

 private:
  ModelInfo info_;
  size_t outputs_ = 0;
  uint32_t next_ = 0;
};

class CountingSink : public TokenSink {
 public:
  explicit CountingSink(int64_t requests) : left_(requests) {}
  void OnTokens(std::span<const SampleResult> results) override { tokens_ += results.size(); }
  void OnFinish(const Completion&) override {
    std::lock_guard lock(mutex_);
    if (--left_ == 0) finished_.notify_one();
  }
  void Await() {
    std::unique_lock lock(mutex_);
    finished_.wait(lock, [this] { return left_ == 0; });
  }

 private:
  int64_t tokens_ = 0;  // the engine thread's
  std::mutex mutex_;
  std::condition_variable finished_;
  int64_t left_;
};

// range(0) requests at once, each of kOutput tokens; range(1): with a penalty.
void BM_Decode(benchmark::State& state) {
  const auto requests = static_cast<int32_t>(state.range(0));
  Engine engine(std::make_unique<FreeModel>(requests), EngineOptions());
  for (auto _ : state) {
    const auto sink = std::make_shared<CountingSink>(requests);
    for (int32_t i = 0; i < requests; ++i) {
      Request request;
      request.prompt = {1};
      request.max_tokens = kOutput;
      request.deadline = absl::Now() + absl::Hours(1);
      if (state.range(1) != 0) request.sampling.repetition_penalty = 1.1f;
      if (!engine.Submit(std::move(request), sink).ok()) return state.SkipWithError("refused");
    }
    sink->Await();
  }
  const EngineStats stats = engine.stats();
  const auto per = benchmark::Counter::kIsRate | benchmark::Counter::kInvert;
  state.counters["step"] = benchmark::Counter(static_cast<double>(stats.steps), per);
  state.counters["token"] = benchmark::Counter(static_cast<double>(stats.generated_tokens), per);
}
BENCHMARK(BM_Decode)
    ->ArgNames({"sequences", "penalty"})
    ->ArgsProduct({{1, 32, 256}, {0, 1}})
    ->UseRealTime();

}  // namespace
}  // namespace retnet
