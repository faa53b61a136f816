#include "client/bench/stream_thread.h"

#include <grpc/support/time.h>

namespace retnet {

StreamThread::StreamThread(Handler handler, double pause_seconds)
    : handler_(std::move(handler)),
      pause_(std::chrono::duration_cast<std::chrono::steady_clock::duration>(
          std::chrono::duration<double>(pause_seconds))),
      thread_([this] { Run(); }) {}

StreamThread::~StreamThread() {
  if (thread_.joinable()) TakeDelays();
}

void StreamThread::Start(std::unique_ptr<StreamCall> call) {
  StreamCall* const started = call.get();
  {
    const MutexLock lock(&mu_);
    calls_.emplace(started, std::move(call));
    if (interrupted_) started->Interrupt();
  }
  started->Start(&queue_);
}

void StreamThread::InterruptAll() {
  const MutexLock lock(&mu_);
  interrupted_ = true;
  for (const auto& [call, owned] : calls_) call->Interrupt();
}

std::vector<float> StreamThread::TakeDelays() {
  queue_.Shutdown();
  thread_.join();
  return std::move(delays_);
}

void StreamThread::Run() {
  void* tag = nullptr;
  bool ok = false;
  busy_since_ = std::chrono::steady_clock::now();
  while (true) {
    // What is there already has waited while the thread was busy.
    grpc::CompletionQueue::NextStatus status =
        queue_.AsyncNext(&tag, &ok, gpr_inf_past(GPR_CLOCK_MONOTONIC));
    SteadyTime now = std::chrono::steady_clock::now();
    if (status == grpc::CompletionQueue::TIMEOUT) {
      status = queue_.AsyncNext(&tag, &ok, NextDeadline());
      now = busy_since_ = std::chrono::steady_clock::now();
    }
    if (status == grpc::CompletionQueue::SHUTDOWN) return;
    if (status == grpc::CompletionQueue::GOT_EVENT) Handle(static_cast<StreamCall*>(tag), ok, now);
    ResumePaused();
  }
}

void StreamThread::Handle(StreamCall* call, bool ok, SteadyTime now) {
  int tokens = 0;
  const StreamCall::Next next = call->Proceed(ok, now, &tokens);
  if (tokens > 0) {
    delays_.push_back(std::chrono::duration<float>(now - busy_since_).count());
    handler_.received(tokens);
  }
  if (next == StreamCall::Next::kPause) paused_.emplace(now + pause_, call);
  if (next != StreamCall::Next::kEnd) return;
  RequestRecord record = call->TakeRecord();
  {
    const MutexLock lock(&mu_);
    calls_.erase(call);
  }
  handler_.ended(std::move(record));
}

gpr_timespec StreamThread::NextDeadline() const {
  if (paused_.empty()) return gpr_inf_future(GPR_CLOCK_MONOTONIC);
  const auto left = paused_.top().first - std::chrono::steady_clock::now();
  const int64_t nanos = std::chrono::duration_cast<std::chrono::nanoseconds>(left).count();
  return gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC), gpr_time_from_nanos(nanos, GPR_TIMESPAN));
}

void StreamThread::ResumePaused() {
  while (!paused_.empty() && paused_.top().first <= std::chrono::steady_clock::now()) {
    StreamCall* const call = paused_.top().second;
    paused_.pop();
    call->Resume();
  }
}

}  // namespace retnet
