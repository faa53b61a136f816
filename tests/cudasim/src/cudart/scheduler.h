// The queues of all streams, and the one mutex that guards them, their events and their captures.
#ifndef RETNET_TESTS_CUDASIM_SRC_CUDART_SCHEDULER_H_
#define RETNET_TESTS_CUDASIM_SRC_CUDART_SCHEDULER_H_

#include <unordered_set>

#include "cudart/state.h"

namespace cudasim::rt {

using Clock = std::chrono::steady_clock;
using Lock = std::unique_lock<std::mutex>;  // of Scheduler::mutex, wherever a function takes one

struct Scheduler {
  std::mutex mutex;
  std::condition_variable changed;
  std::vector<Stream*> streams;  // all streams ever created (never freed)
  Stream* legacy = nullptr;
  std::unordered_set<Event*> events;
  std::vector<Capture*> captures;
  uint64_t next_id = 1;
  bool flusher_started = false;

  Scheduler() {
    legacy = make(0, 0);
    legacy->legacy = true;
  }
  Stream* make(unsigned flags, int priority) {
    auto* s = new Stream;
    s->flags = flags;
    s->priority = priority;
    s->id = next_id++;
    streams.push_back(s);
    return s;
  }
};

Scheduler& sched();

// Runs queued operations of the stream until `position` of them have completed. The mutex is
// released while an operation runs.
void drain(Lock& lock, Stream* s, uint64_t position);
cudaError_t enqueue(Lock& lock, Stream* s, std::function<void()> run,
                    std::vector<Dependency> dependencies = {});
// The legacy stream may not be used while a blocking stream is being captured.
cudaError_t check_legacy(Stream* s);
Event* event_of(cudaEvent_t);  // nullptr: invalid handle. Takes the mutex.

}  // namespace cudasim::rt

#endif  // RETNET_TESTS_CUDASIM_SRC_CUDART_SCHEDULER_H_
