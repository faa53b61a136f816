// A sink that keeps what it is told.
#ifndef RETNET_TESTS_ENGINE_RECORDING_SINK_H_
#define RETNET_TESTS_ENGINE_RECORDING_SINK_H_

#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <span>
#include <vector>

#include "engine/request.h"

namespace retnet {

// Thread-safe.
class RecordingSink : public TokenSink {
 public:
  void OnTokens(std::span<const SampleResult> results) override {
    std::lock_guard lock(mutex_);
    if (done_calls_ > 0) ++calls_after_done_;
    answers_.insert(answers_.end(), results.begin(), results.end());
    changed_.notify_all();
  }

  void OnFinish(const Completion& completion) override {
    std::lock_guard lock(mutex_);
    if (++done_calls_ > 1) ++calls_after_done_;
    completion_ = completion;
    changed_.notify_all();
  }

  // Waits for the end.
  Completion AwaitDone() const {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return done_calls_ > 0; });
    return completion_;
  }
  // Waits for so many answers, or the end.
  void AwaitResults(size_t count) const {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return answers_.size() >= count || done_calls_ > 0; });
  }

  bool done() const {
    std::lock_guard lock(mutex_);
    return done_calls_ > 0;
  }
  Completion completion() const {
    std::lock_guard lock(mutex_);
    return completion_;
  }
  std::vector<SampleResult> results() const {
    std::lock_guard lock(mutex_);
    return answers_;
  }
  std::vector<TokenId> tokens() const {
    std::vector<TokenId> tokens;
    for (const SampleResult& result : results()) tokens.push_back(result.token);
    return tokens;
  }
  // Calls that the contract forbids.
  int32_t calls_after_done() const {
    std::lock_guard lock(mutex_);
    return calls_after_done_;
  }

 private:
  mutable std::mutex mutex_;
  mutable std::condition_variable changed_;
  std::vector<SampleResult> answers_;
  Completion completion_;
  int32_t done_calls_ = 0;
  int32_t calls_after_done_ = 0;
};

}  // namespace retnet

#endif  // RETNET_TESTS_ENGINE_RECORDING_SINK_H_
