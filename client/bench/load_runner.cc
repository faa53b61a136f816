#include "client/bench/load_runner.h"

#include <sys/resource.h>

#include <algorithm>
#include <utility>

namespace retnet {
namespace {

// Requests that are made before there is room for them, so that making one delays no stream.
constexpr size_t kLeastWaiting = 64;

double CpuSeconds() {
  rusage usage = {};
  getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) * 1e-6;
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

SteadyTime After(SteadyTime start, double seconds) {
  return start +
         std::chrono::duration_cast<SteadyTime::duration>(std::chrono::duration<double>(seconds));
}

}  // namespace

LoadRunner::LoadRunner(const Channels& channels, const LoadLimits& limits, LoadProgress* progress)
    : channels_(channels),
      limits_(limits),
      progress_(progress),
      most_waiting_(std::max<size_t>(kLeastWaiting, limits.concurrency)),
      narrow_stub_(v1::Generation::NewStub(channels.narrow)) {
  for (const auto& channel : channels.ordinary) stubs_.push_back(v1::Generation::NewStub(channel));
}

LoadResult LoadRunner::Run(const Workload& workload, Arrivals* arrivals) {
  LoadResult result;
  {
    const MutexLock lock(&mu_);
    for (size_t i = 0; i < channels_.ordinary.size(); ++i) {
      threads_.push_back(std::make_unique<StreamThread>(
          StreamThread::Handler{
              .received = [this](int tokens) { progress_->tokens += tokens; },
              .ended = [this, i](RequestRecord record) { Ended(std::move(record), i); }},
          limits_.slow_reader_pause));
    }
  }
  const double cpu = CpuSeconds();
  start_ = std::chrono::steady_clock::now();
  for (int64_t i = 0; !limits_.requests || i < *limits_.requests; ++i) {
    const double due = arrivals->Next();
    if (limits_.seconds && due >= *limits_.seconds) break;
    Due prepared = Prepare(workload, i, due);
    if (!AwaitTurn(due)) break;
    {
      const MutexLock lock(&mu_);
      waiting_.push_back(std::move(prepared));
    }
    SendWaiting(i % threads_.size());
  }
  {
    MutexLock lock(&mu_);
    if (limits_.seconds) {
      const SteadyTime end = After(start_, *limits_.seconds);
      while (!all_ended() && changed_.WaitUntil(&mu_, end)) continue;
      if (SendingIsOver(std::chrono::steady_clock::now())) waiting_.clear();
    }
    while (!all_ended()) changed_.Wait(&mu_);
    result.records = std::move(records_);
    result.interrupted = stopped_;
  }
  result.cpu_seconds = CpuSeconds() - cpu;
  for (const auto& thread : threads_) {
    const std::vector<float> delays = thread->TakeDelays();
    result.delays.insert(result.delays.end(), delays.begin(), delays.end());
  }
  for (const RequestRecord& record : result.records) {
    result.seconds = std::max(result.seconds, record.ended);
  }
  return result;
}

void LoadRunner::Stop() {
  const MutexLock lock(&mu_);
  stopped_ = true;
  waiting_.clear();
  for (const auto& thread : threads_) thread->InterruptAll();
  changed_.NotifyAll();
}

LoadRunner::Due LoadRunner::Prepare(const Workload& workload, int64_t index, double due) const {
  Due prepared{.planned = workload.Request(index), .due = due, .breakable = {}, .broken = {}};
  if (prepared.planned.conduct != Conduct::kVanishes) return prepared;
  auto breakable = BreakableConnection::Open(channels_.target, channels_.access);
  if (breakable.ok()) {
    prepared.breakable = *std::move(breakable);
  } else {
    prepared.broken = breakable.status();
  }
  return prepared;
}

bool LoadRunner::SendingIsOver(SteadyTime now) const {
  return stopped_ || (limits_.seconds && now >= After(start_, *limits_.seconds));
}

bool LoadRunner::AwaitTurn(double due) {
  MutexLock lock(&mu_);
  while (!stopped_ && changed_.WaitUntil(&mu_, After(start_, due))) continue;
  while (!stopped_ && waiting_.size() >= most_waiting_) {
    if (!limits_.seconds) {
      changed_.Wait(&mu_);
    } else if (!changed_.WaitUntil(&mu_, After(start_, *limits_.seconds))) {
      break;
    }
  }
  return !SendingIsOver(std::chrono::steady_clock::now());
}

void LoadRunner::SendWaiting(size_t thread) {
  while (true) {
    Due due;
    {
      const MutexLock lock(&mu_);
      if (waiting_.empty()) return;
      if (limits_.concurrency > 0 && running_ >= limits_.concurrency) return;
      if (SendingIsOver(std::chrono::steady_clock::now())) return;
      due = std::move(waiting_.front());
      waiting_.pop_front();
      ++running_;
    }
    ++progress_->running;
    Send(std::move(due), thread);
  }
}

void LoadRunner::Send(Due due, size_t thread) {
  if (!due.broken.ok()) {
    RequestRecord record;
    record.due = due.due;
    record.sent = record.ended =
        std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
    record.status = grpc::Status(grpc::StatusCode::UNAVAILABLE, std::string(due.broken.message()));
    Ended(std::move(record), thread);
    return;
  }
  std::shared_ptr<v1::Generation::Stub> stub = stubs_[thread];
  if (due.planned.conduct == Conduct::kDawdles) stub = narrow_stub_;
  StreamCallOptions options{.planned = std::move(due.planned),
                            .due = due.due,
                            .run_start = start_,
                            .timeout_seconds = limits_.timeout_seconds};
  if (due.breakable != nullptr) {
    stub = v1::Generation::NewStub(due.breakable->channel());
    options.break_off = [breakable = std::move(due.breakable)] { breakable->Break(); };
  }
  threads_[thread]->Start(std::make_unique<StreamCall>(std::move(options), std::move(stub)));
}

void LoadRunner::Ended(RequestRecord record, size_t thread) {
  --progress_->running;
  ++progress_->ended;
  if (record.outcome == Outcome::kFailed) ++progress_->failed;
  {
    const MutexLock lock(&mu_);
    records_.push_back(std::move(record));
    --running_;
    changed_.NotifyAll();
  }
  SendWaiting(thread);
}

}  // namespace retnet
