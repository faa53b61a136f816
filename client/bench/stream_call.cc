#include "client/bench/stream_call.h"

#include <algorithm>
#include <utility>

namespace retnet {
namespace {

// Arrivals that are given their place in advance; longer streams grow it.
constexpr int32_t kReservedArrivals = 1024;

}  // namespace

StreamCall::StreamCall(StreamCallOptions options, std::shared_ptr<v1::Generation::Stub> stub)
    : stub_(std::move(stub)), options_(std::move(options)) {
  const v1::GenerateRequest& request = options_.planned.request;
  record_.due = options_.due;
  record_.prompt_tokens = request.token_ids().ids_size();
  record_.later.reserve(std::min(request.max_tokens(), kReservedArrivals));
}

double StreamCall::Seconds(SteadyTime time) const {
  return std::chrono::duration<double>(time - options_.run_start).count();
}

void StreamCall::Start(grpc::CompletionQueue* queue) {
  const MutexLock lock(&mu_);
  if (options_.timeout_seconds > 0) {
    context_.set_deadline(
        std::chrono::system_clock::now() +
        std::chrono::microseconds(static_cast<int64_t>(options_.timeout_seconds * 1e6)));
  }
  reader_ = stub_->PrepareAsyncGenerate(&context_, options_.planned.request, queue);
  record_.sent = Seconds(std::chrono::steady_clock::now());
  reader_->StartCall(this);
}

StreamCall::Next StreamCall::Proceed(bool ok, SteadyTime now, int* new_tokens) {
  const MutexLock lock(&mu_);
  *new_tokens = 0;
  if (pending_ == Pending::kFinish) {
    record_.ended = Seconds(now);
    record_.outcome = End();
    return Next::kEnd;
  }
  if (!ok) return Finish();
  if (pending_ == Pending::kRead) Accept(now, new_tokens);
  const PlannedRequest& planned = options_.planned;
  const bool leaves = planned.conduct == Conduct::kCancels || planned.conduct == Conduct::kVanishes;
  if (leaves && record_.output_tokens >= planned.leaves_after) return Leave();
  const bool dawdles = planned.conduct == Conduct::kDawdles && *new_tokens > 0;
  if (!dawdles) return Read();
  return Next::kPause;
}

void StreamCall::Resume() {
  const MutexLock lock(&mu_);
  Read();
}

void StreamCall::Interrupt() {
  const MutexLock lock(&mu_);
  interrupted_ = true;
  context_.TryCancel();
}

RequestRecord StreamCall::TakeRecord() {
  const MutexLock lock(&mu_);
  return std::move(record_);
}

StreamCall::Next StreamCall::Read() {
  pending_ = Pending::kRead;
  reader_->Read(&response_, this);
  return Next::kEvent;
}

StreamCall::Next StreamCall::Leave() {
  if (!left_) {
    left_ = true;
    if (options_.planned.conduct == Conduct::kCancels) {
      context_.TryCancel();
    } else {
      options_.break_off();
    }
  }
  return Read();  // until it fails: what was on its way may still come
}

StreamCall::Next StreamCall::Finish() {
  pending_ = Pending::kFinish;
  reader_->Finish(&record_.status, this);
  return Next::kEvent;
}

void StreamCall::Accept(SteadyTime now, int* new_tokens) {
  if (response_.has_final()) {
    record_.prompt_tokens = response_.final().usage().prompt_tokens();
    for (const v1::Finish& finish : response_.final().finishes()) {
      const v1::Timings& timings = finish.timings();
      record_.server = ServerTimings{.queued = timings.queued_seconds(),
                                     .prefill = timings.prefill_seconds(),
                                     .decode = timings.decode_seconds()};
    }
  }
  *new_tokens = response_.chunk().tokens_size();
  if (*new_tokens == 0) return;
  if (!record_.first_token) {
    record_.first_token = Seconds(now);
    record_.first_tokens = *new_tokens;
  } else {
    const float gap = std::chrono::duration<float>(now - newest_).count();
    record_.later.push_back({.gap = gap, .tokens = *new_tokens});
  }
  newest_ = now;
  record_.output_tokens += *new_tokens;
}

Outcome StreamCall::End() const {
  if (record_.status.ok()) {
    return options_.planned.conduct == Conduct::kDawdles ? Outcome::kDawdled : Outcome::kCompleted;
  }
  const bool cancelled = record_.status.error_code() == grpc::StatusCode::CANCELLED;
  if (left_ && options_.planned.conduct == Conduct::kVanishes) return Outcome::kVanished;
  if (left_ && cancelled) return Outcome::kCancelled;
  if (interrupted_ && cancelled) return Outcome::kInterrupted;
  return Outcome::kFailed;
}

}  // namespace retnet
