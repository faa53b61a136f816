#include "kernels/cuda/transfers.h"

#include <utility>

#include "kernels/cuda/runtime/cuda_status.h"
#include "kernels/status_macros.h"

namespace retnet::cuda {

absl::StatusOr<std::unique_ptr<CudaTransfers>> CudaTransfers::Make(int64_t pinned_bytes) {
  std::unique_ptr<CudaTransfers> transfers(new CudaTransfers());
  ASSIGN_OR_RETURN(transfers->stream_, MakeStream());
  ASSIGN_OR_RETURN(transfers->pinned_, PinnedBytes::Make(pinned_bytes));
  transfers->pinned_size_ = pinned_bytes;
  transfers->thread_ = std::thread([self = transfers.get()] { self->Run(); });
  return transfers;
}

CudaTransfers::~CudaTransfers() {
  if (!thread_.joinable()) return;
  {
    const MutexLock lock(&mutex_);
    stopping_ = true;
  }
  changed_.NotifyAll();
  thread_.join();
}

void CudaTransfers::Queue(cudaStream_t behind, Copy copy) {
  Job job{.queued = nullptr, .copy = std::move(copy), .done = nullptr, .status = {}};
  auto event = MakeEvent();
  job.status = event.status();
  if (event.ok()) {
    job.queued = *std::move(event);
    job.status = CudaStatus(cudaEventRecord(job.queued.get(), behind), "queueing a transfer");
  }
  Push(std::move(job));
}

void CudaTransfers::Queue(Done done) {
  Push({.queued = nullptr, .copy = nullptr, .done = std::move(done), .status = {}});
}

void CudaTransfers::Push(Job job) {
  {
    const MutexLock lock(&mutex_);
    jobs_.push_back(std::move(job));
  }
  changed_.NotifyAll();
}

void CudaTransfers::Wait() {
  MutexLock lock(&mutex_);
  while (!jobs_.empty()) changed_.Wait(&mutex_);
}

void CudaTransfers::Run() {
  absl::Status status;
  MutexLock lock(&mutex_);
  while (true) {
    while (!stopping_ && jobs_.empty()) changed_.Wait(&mutex_);
    if (jobs_.empty()) return;
    const Job& job = jobs_.front();  // stays where it is while others are pushed
    lock.Unlock();
    if (job.copy) {
      status.Update(DoCopy(job));
    } else {
      job.done(std::exchange(status, absl::OkStatus()));
    }
    lock.Lock();
    jobs_.pop_front();
    changed_.NotifyAll();
  }
}

absl::Status CudaTransfers::DoCopy(const Job& job) const {
  RETURN_IF_ERROR(job.status);
  RETURN_IF_ERROR(
      CudaStatus(cudaStreamWaitEvent(stream_.get(), job.queued.get()), "queueing a transfer"));
  return job.copy({stream_.get(), pinned_.data(), pinned_size_});
}

}  // namespace retnet::cuda
