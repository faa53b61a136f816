#include "kernels/cuda/transfers.h"

#include <utility>

#include "kernels/cuda/runtime/cuda_status.h"
#include "kernels/status_macros.h"

namespace retnet::cuda {
namespace {

// An event that comes when the work that is queued on the stream now is done.
absl::StatusOr<Event> RecordEvent(cudaStream_t stream) {
  ASSIGN_OR_RETURN(Event event, MakeEvent());
  RETURN_IF_ERROR(CudaStatus(cudaEventRecord(event.get(), stream), "queueing a transfer"));
  return event;
}

}  // namespace

absl::StatusOr<std::unique_ptr<CudaTransfers>> CudaTransfers::Make(int64_t pinned_bytes) {
  std::unique_ptr<CudaTransfers> transfers(new CudaTransfers());
  ASSIGN_OR_RETURN(transfers->stream_, MakeStream());
  ASSIGN_OR_RETURN(transfers->pinned_, PinnedBytes::Make(pinned_bytes));
  transfers->pinned_size_ = pinned_bytes;
  return transfers;
}

void CudaTransfers::Queue(cudaStream_t behind, Copy copy) {
  thread_.Post([this, queued = RecordEvent(behind), copy = std::move(copy)] {
    status_.Update(DoCopy(queued, copy));
  });
}

void CudaTransfers::Queue(Done done) {
  thread_.Post([this, done = std::move(done)] { done(std::exchange(status_, absl::OkStatus())); });
}

void CudaTransfers::Wait() { thread_.Wait(); }

absl::Status CudaTransfers::DoCopy(const absl::StatusOr<Event>& queued, const Copy& copy) const {
  RETURN_IF_ERROR(queued.status());
  RETURN_IF_ERROR(
      CudaStatus(cudaStreamWaitEvent(stream_.get(), queued->get()), "queueing a transfer"));
  return copy({stream_.get(), pinned_.data(), pinned_size_});
}

}  // namespace retnet::cuda
