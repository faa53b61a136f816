// Has a data race on purpose: the engine thread writes what this thread reads, and nothing orders
// the two but relaxed atomics. A thread sanitizer that does not report it is blind to the engine's
// tests.
#include <atomic>
#include <cstdio>
#include <memory>
#include <thread>
#include <utility>

#include "engine/engine.h"
#include "tests/engine/fake_model.h"

namespace retnet {
namespace {

class RacySink : public TokenSink {
 public:
  void OnTokens(std::span<const SampleResult> results) override {
    tokens_ += static_cast<int>(results.size());
  }
  void OnFinish(const Completion&) override { done_.store(true, std::memory_order_relaxed); }

  int ReadUnordered() const {
    while (!done_.load(std::memory_order_relaxed)) std::this_thread::yield();
    return tokens_;
  }

 private:
  int tokens_ = 0;
  std::atomic<bool> done_ = false;
};

int Run() {
  Engine engine(std::make_unique<FakeModel>(FakeModelOptions()), EngineOptions());
  const auto sink = std::make_shared<RacySink>();
  Request request;
  request.prompt = {1, 2, 3};
  request.max_tokens = 5;
  if (!engine.Submit(std::move(request), sink).ok()) return 1;
  std::printf("%d tokens\n", sink->ReadUnordered());
  return 0;
}

}  // namespace
}  // namespace retnet

int main() { return retnet::Run(); }
