// Gives memory back to the system after a peak.
#ifndef RETNET_SERVER_OPS_MEMORY_TRIMMER_H_
#define RETNET_SERVER_OPS_MEMORY_TRIMMER_H_

#include <thread>

#include "absl/time/time.h"
#include "kernels/mutex.h"

namespace retnet {

// glibc keeps what was freed, above all of threads beside the main one, for the next request: after
// a flood that may be hundreds of megabytes. This thread looks from time to time how much that is.
// When it has grown, it makes glibc return every page that is wholly free. Thread-safe.
class MemoryTrimmer {
 public:
  explicit MemoryTrimmer(absl::Duration interval = absl::Seconds(10));
  ~MemoryTrimmer();
  MemoryTrimmer(const MemoryTrimmer&) = delete;

 private:
  void Run();

  const absl::Duration interval_;
  Mutex mu_;
  CondVar stop_;
  bool stopping_ ABSL_GUARDED_BY(mu_) = false;
  std::thread thread_;  // uses everything above
};

}  // namespace retnet

#endif  // RETNET_SERVER_OPS_MEMORY_TRIMMER_H_
