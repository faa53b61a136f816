// The thread that copies states between host and device while steps run.
#ifndef RETNET_KERNELS_CUDA_TRANSFERS_H_
#define RETNET_KERNELS_CUDA_TRANSFERS_H_

#include <cuda_runtime.h>

#include <cstdint>
#include <functional>
#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "kernels/cuda/retention/states.h"
#include "kernels/cuda/runtime/cuda_handles.h"
#include "kernels/cuda/runtime/staging.h"
#include "kernels/serial_executor.h"

namespace retnet::cuda {

// A thread with its own stream that runs the copies in order, and the remaining ones when it is
// destroyed. The thread itself calls `done`. Callbacks of CUDA streams would not do: once the device
// has failed, CUDA no longer calls them, and waiters would never learn of the failure. One other
// thread at a time may call the functions.
class CudaTransfers {
 public:
  using Copy = std::function<absl::Status(const CopyLane&)>;
  using Done = std::function<void(const absl::Status&)>;

  // Copies go through `pinned_bytes` of pinned memory. RESOURCE_EXHAUSTED if it cannot be
  // allocated.
  static absl::StatusOr<std::unique_ptr<CudaTransfers>> Make(int64_t pinned_bytes);

  // Queues `copy`. Its work on the device starts after all work that is queued on `behind` now.
  void Queue(cudaStream_t behind, Copy copy);
  // Queues a call of `done` on the thread, with the first error of the copies since the last Done.
  void Queue(Done done);
  // Returns when all that was queued is done.
  void Wait();

 private:
  CudaTransfers() = default;
  // Once the event has come, or not if there is none.
  absl::Status DoCopy(const absl::StatusOr<Event>& queued, const Copy& copy) const;

  // Constant after construction.
  Stream stream_;
  PinnedBytes pinned_;
  int64_t pinned_size_ = 0;

  absl::Status status_;  // of the copies since the last Done; the thread only

  SerialExecutor thread_;  // last: its tasks use the members above
};

}  // namespace retnet::cuda

#endif  // RETNET_KERNELS_CUDA_TRANSFERS_H_
