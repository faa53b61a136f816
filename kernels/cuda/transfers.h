// The thread that copies states between host and device while steps run.
#ifndef RETNET_KERNELS_CUDA_TRANSFERS_H_
#define RETNET_KERNELS_CUDA_TRANSFERS_H_

#include <cuda_runtime.h>

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <thread>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "kernels/cuda/retention/states.h"
#include "kernels/cuda/runtime/cuda_handles.h"
#include "kernels/cuda/runtime/staging.h"
#include "kernels/mutex.h"

namespace retnet::cuda {

// A thread with its own stream that runs the copies in order. The thread itself calls `done`.
// Callbacks of CUDA streams would not do: once the device has failed, CUDA no longer calls them,
// and waiters would never learn of the failure. One other thread at a time may call the functions.
class CudaTransfers {
 public:
  using Copy = std::function<absl::Status(const CopyLane&)>;
  using Done = std::function<void(const absl::Status&)>;

  // Copies go through `pinned_bytes` of pinned memory. RESOURCE_EXHAUSTED if it cannot be
  // allocated.
  static absl::StatusOr<std::unique_ptr<CudaTransfers>> Make(int64_t pinned_bytes);
  // Runs the remaining jobs first.
  ~CudaTransfers();

  // Queues `copy`. Its work on the device starts after all work that is queued on `behind` now.
  void Queue(cudaStream_t behind, Copy copy);
  // Queues a call of `done` on the thread, with the first error of the copies since the last Done.
  void Queue(Done done);
  // Returns when all queued jobs are done.
  void Wait();

 private:
  struct Job {
    Event queued;         // the copy waits for it; null for a Done
    Copy copy;            // either this
    Done done;            // or this is set
    absl::Status status;  // an error of making or recording `queued`
  };

  CudaTransfers() = default;
  void Push(Job job);
  void Run();
  absl::Status DoCopy(const Job& job) const;

  // Constant after construction.
  Stream stream_;
  PinnedBytes pinned_;
  int64_t pinned_size_ = 0;

  Mutex mutex_;
  CondVar changed_;
  std::deque<Job> jobs_ ABSL_GUARDED_BY(mutex_);  // the first one is running
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;

  std::thread thread_;
};

}  // namespace retnet::cuda

#endif  // RETNET_KERNELS_CUDA_TRANSFERS_H_
