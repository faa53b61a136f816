// Copies of states between host and device, beside the steps.
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

// A thread with a stream of its own does the copies, one after the other. It calls whoever waits
// for them itself: what CUDA calls back from a stream, it does not once the device has failed, and
// then nobody would be told. All functions but the constructor may be called by one other thread.
class CudaTransfers {
 public:
  using Copy = std::function<absl::Status(const CopyLane&)>;
  using Done = std::function<void(const absl::Status&)>;

  // With `pinned_bytes` to copy over. RESOURCE_EXHAUSTED when there is no such memory.
  static absl::StatusOr<std::unique_ptr<CudaTransfers>> Make(int64_t pinned_bytes);
  // Does what is left first.
  ~CudaTransfers();

  // `copy` runs once all is done that `behind` has queued by now.
  void Queue(cudaStream_t behind, Copy copy);
  // Calls `done` on the thread, with the first error of the copies since the Done before.
  void Queue(Done done);
  // Returns when all that was queued is done.
  void Wait();

 private:
  struct Job {
    Event queued;  // none where there is nothing to wait for
    Copy copy;     // or
    Done done;
    absl::Status status;  // of what precedes it
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
  std::deque<Job> jobs_ ABSL_GUARDED_BY(mutex_);  // the first one is being done
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;

  std::thread thread_;
};

}  // namespace retnet::cuda

#endif  // RETNET_KERNELS_CUDA_TRANSFERS_H_
