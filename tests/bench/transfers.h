// Transfers of a model's states that wait for the end. For programs that exit on an error.
#ifndef RETNET_TESTS_BENCH_TRANSFERS_H_
#define RETNET_TESTS_BENCH_TRANSFERS_H_

#include <algorithm>
#include <cstddef>
#include <cstdlib>
#include <iostream>
#include <span>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "kernels/mutex.h"
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
      const MutexLock lock(&mutex_);
      done_ = ticket;
      changed_.NotifyAll();
    });
  }

  void Read(SlotId slot, std::span<std::byte> bytes) {
    Start([&] { return model_->StartRead(slot, bytes); });
  }
  void Write(std::span<const std::byte> bytes, Model::StateShape shape, SlotId slot) {
    Start([&] { return model_->StartWrite(bytes, shape, slot); });
  }
  bool over() {
    const MutexLock lock(&mutex_);
    return done_ == started_;
  }
  void Wait() {
    MutexLock lock(&mutex_);
    while (done_ != started_) changed_.Wait(&mutex_);
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
    const MutexLock lock(&mutex_);
    started_ = *ticket;
  }

  Model* const model_;
  absl::Duration stall_;
  Mutex mutex_;
  CondVar changed_;
  Ticket started_ ABSL_GUARDED_BY(mutex_) = 0;
  Ticket done_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace retnet

#endif  // RETNET_TESTS_BENCH_TRANSFERS_H_
