#include "server/ops/memory_trimmer.h"

#include <malloc.h>

#include <algorithm>
#include <cstdint>

#include "absl/time/clock.h"

namespace retnet {
namespace {

// Less is not worth the locks that glibc holds meanwhile.
constexpr int64_t kWorthTrimming = 16 << 20;

}  // namespace

// What malloc holds for later, in bytes. Pages that a trim has returned count as well.
int64_t FreeBytes() { return static_cast<int64_t>(mallinfo2().fordblks); }

MemoryTrimmer::MemoryTrimmer(absl::Duration interval)
    : interval_(interval), thread_([this] { Run(); }) {}

MemoryTrimmer::~MemoryTrimmer() {
  {
    const MutexLock lock(&mu_);
    stopping_ = true;
    stop_.NotifyAll();
  }
  thread_.join();
}

void MemoryTrimmer::Run() {
  int64_t least_free = FreeBytes();  // since the last trim
  MutexLock lock(&mu_);
  while (!stopping_) {
    const absl::Time next = absl::Now() + interval_;
    while (!stopping_ && stop_.WaitUntil(&mu_, absl::ToChronoTime(next))) continue;
    if (stopping_) return;
    lock.Unlock();
    const int64_t free = FreeBytes();
    if (free > least_free + kWorthTrimming) {
      malloc_trim(/*pad=*/0);
      least_free = FreeBytes();
    } else {
      least_free = std::min(least_free, free);
    }
    lock.Lock();
  }
}

}  // namespace retnet
