// Transfers of a model's states that wait for the end. For programs that exit on an error.
#ifndef RETNET_TESTS_BENCH_TRANSFERS_H_
#define RETNET_TESTS_BENCH_TRANSFERS_H_

#include <algorithm>
#include <condition_variable>
#include <cstddef>
#include <cstdlib>
#include <iostream>
#include <mutex>
#include <span>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "models/model.h"

namespace retnet {

inline void CheckOk(const absl::Status& status) {
  if (status.ok()) return;
  std::cerr << status << std::endl;
  std::exit(1);
}

// Of one model, which outlives it; one thread calls. One transfer at a time.
class AwaitedTransfers {
 public:
  explicit AwaitedTransfers(Model* model) : model_(model) {
    model->set_transfer_done([this](Ticket ticket, const absl::Status& status) {
      CheckOk(status);
      const std::lock_guard lock(mutex_);
      done_ = ticket;
      changed_.notify_all();
    });
  }

  void Read(SlotId slot, std::span<std::byte> bytes) {
    Start([&] { return model_->StartRead(slot, bytes); });
  }
  void Write(std::span<const std::byte> bytes, Model::StateShape shape, SlotId slot) {
    Start([&] { return model_->StartWrite(bytes, shape, slot); });
  }
  bool over() {
    const std::lock_guard lock(mutex_);
    return done_ == started_;
  }
  void Wait() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return done_ == started_; });
  }
  // The longest that a call which starts one has taken since this was asked last.
  absl::Duration TakeStall() { return std::exchange(stall_, absl::ZeroDuration()); }

 private:
  template <typename Call>
  void Start(const Call& call) {
    const absl::Time start = absl::Now();
    const absl::StatusOr<Ticket> ticket = call();
    stall_ = std::max(stall_, absl::Now() - start);
    CheckOk(ticket.status());
    const std::lock_guard lock(mutex_);
    started_ = *ticket;
  }

  Model* const model_;
  absl::Duration stall_;
  std::mutex mutex_;
  std::condition_variable changed_;
  Ticket started_ = 0;  // guarded by mutex_
  Ticket done_ = 0;     // guarded by mutex_
};

}  // namespace retnet

#endif  // RETNET_TESTS_BENCH_TRANSFERS_H_
