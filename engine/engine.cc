#include "engine/engine.h"

#include <condition_variable>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "engine/executor.h"
#include "engine/validate.h"
#include "kernels/status_macros.h"

namespace retnet {
namespace {

EngineOptions Resolved(EngineOptions options, const ModelInfo& info) {
  if (options.max_step_rows <= 0 || options.max_step_rows > info.max_rows) {
    options.max_step_rows = info.max_rows;
  }
  return options;
}

// What the engine thread is asked for.
struct Inbox {
  std::vector<std::unique_ptr<Sequence>> sequences;
  std::vector<RequestId> cancelled;
  absl::Status end_all;  // not OK: ends every sequence with it
  bool closing = false;  // the last turn

  bool empty() const { return sequences.empty() && cancelled.empty() && end_all.ok() && !closing; }
  // Keeps the vectors' memory.
  void Clear() {
    sequences.clear();
    cancelled.clear();
    end_all = absl::OkStatus();
  }
};

}  // namespace

class Engine::Impl {
 public:
  Impl(std::unique_ptr<Model> model, const EngineOptions& options)
      : info_(model->info()),
        options_(Resolved(options, info_)),
        executor_(std::move(model), options_.max_step_rows, options_.max_step) {
    counters_ = executor_.stats();
    thread_ = std::thread([this] { Run(); });
  }

  ~Impl() {
    {
      std::lock_guard lock(mutex_);
      refusal_ = absl::UnavailableError("the engine is closing");
      inbox_.end_all = absl::CancelledError("the engine is closing");
      inbox_.closing = true;
    }
    wake_.notify_one();
    thread_.join();
  }

  absl::StatusOr<RequestId> Submit(Request request, std::shared_ptr<TokenSink> sink);
  void Cancel(RequestId id);
  bool Drain(absl::Time deadline);
  EngineStats stats() const;
  bool healthy() const;
  const ModelInfo& model_info() const { return info_; }
  const EngineOptions& options() const { return options_; }

 private:
  // --- Called with mutex_ held.
  absl::Status Admissible() const;
  int64_t unfinished() const { return accepted_ - counters_.requests_finished; }

  // --- The engine thread's.
  void Run();
  void Take(Inbox* inbox);
  void Tell();
  void GiveWay();
  void Fail(const absl::Status& status);

  // --- Constant after construction.
  const ModelInfo info_;
  const EngineOptions options_;

  // --- The engine thread's alone, once it runs.
  Executor executor_;
  absl::Time gives_way_from_ = absl::InfinitePast();

  // --- Guarded by mutex_, which is never held while a sink or the model is called.
  mutable std::mutex mutex_;
  std::condition_variable wake_;       // the inbox is not empty
  std::condition_variable went_idle_;  // idle_ has become true
  Inbox inbox_;
  absl::Status refusal_;  // not OK: why no request is accepted any more
  bool healthy_ = true;
  bool idle_ = false;     // the engine thread waits, and has told every end
  int64_t accepted_ = 0;  // requests; the newest one's id
  int64_t refused_ = 0;   // requests
  EngineStats counters_;  // as the executor told them last

  std::thread thread_;
};

absl::Status Engine::Impl::Admissible() const {
  RETURN_IF_ERROR(refusal_);
  // With so many unfinished, max_queue of them are left when every slot is taken.
  if (unfinished() < int64_t{info_.slots} + options_.max_queue) return absl::OkStatus();
  return absl::ResourceExhaustedError(
      absl::StrCat("the queue is full: max_queue = ", options_.max_queue, " requests wait and ",
                   info_.slots, " run; try again later"));
}

absl::StatusOr<RequestId> Engine::Impl::Submit(Request request, std::shared_ptr<TokenSink> sink) {
  absl::Status status = ValidateRequest(request, info_.vocab_size, options_.max_context_length);
  if (sink == nullptr) status.Update(absl::InvalidArgumentError("sink is null; it must be given"));
  if (status.ok()) {  // a flood of requests is refused before anything is made of them
    std::lock_guard lock(mutex_);
    status = Admissible();
  }
  std::unique_ptr<Sequence> sequence;
  if (status.ok()) {  // made before the lock is taken: penalties read the whole prompt
    sequence = std::make_unique<Sequence>(std::move(request), std::move(sink),
                                          options_.max_context_length, absl::Now());
  }
  std::unique_lock lock(mutex_);
  status.Update(Admissible());
  if (!status.ok()) {
    ++refused_;
    return status;
  }
  const RequestId id = ++accepted_;
  sequence->set_id(id);
  inbox_.sequences.push_back(std::move(sequence));
  lock.unlock();
  wake_.notify_one();
  return id;
}

void Engine::Impl::Cancel(RequestId id) {
  {
    std::lock_guard lock(mutex_);
    inbox_.cancelled.push_back(id);
  }
  wake_.notify_one();
}

bool Engine::Impl::Drain(absl::Time deadline) {
  std::unique_lock lock(mutex_);
  refusal_.Update(absl::UnavailableError("the engine is draining; no request is accepted"));
  const auto all_told = [this] { return idle_ && inbox_.empty(); };
  if (went_idle_.wait_until(lock, absl::ToChronoTime(deadline), all_told)) return true;
  inbox_.end_all = absl::UnavailableError("the engine was drained before the request had finished");
  wake_.notify_one();
  went_idle_.wait(lock, all_told);
  return false;
}

EngineStats Engine::Impl::stats() const {
  std::lock_guard lock(mutex_);
  EngineStats stats = counters_;
  stats.waiting = static_cast<int32_t>(unfinished() - stats.running);
  stats.requests_refused = refused_;
  return stats;
}

bool Engine::Impl::healthy() const {
  std::lock_guard lock(mutex_);
  return healthy_;
}

void Engine::Impl::Run() {
  Inbox inbox;
  while (!inbox.closing) {
    Take(&inbox);
    for (auto& sequence : inbox.sequences) executor_.Admit(std::move(sequence));
    for (RequestId id : inbox.cancelled) executor_.Cancel(id);
    if (!inbox.end_all.ok()) executor_.EndAll(inbox.end_all);
    executor_.Prepare(absl::Now());
    Tell();  // nobody who has ended waits for the step
    if (absl::Status status = executor_.Step(); !status.ok()) Fail(status);
    Tell();
    GiveWay();
  }
}

// Waits only when there is no sequence at all: where one waits for a slot, others run.
void Engine::Impl::Take(Inbox* inbox) {
  inbox->Clear();
  std::unique_lock lock(mutex_);
  if (executor_.idle() && inbox_.empty()) {
    idle_ = true;
    went_idle_.notify_all();
    wake_.wait(lock, [this] { return !inbox_.empty(); });
    idle_ = false;
  }
  std::swap(*inbox, inbox_);
}

// First for everybody to see, then to the sinks: who has been told of an end finds the slot free.
void Engine::Impl::Tell() {
  {
    std::lock_guard lock(mutex_);
    counters_ = executor_.stats();
  }
  executor_.Deliver();
}

// Lets the threads that carry the answers away run first where they share a processor with this
// one: steps follow each other without a wait, and the kernel may leave a thread it has woken
// waiting for 4 ms, so that a token finds the last one's write unfinished. Not while a busy
// neighbour takes the processor for a whole time slice whenever it is offered.
void Engine::Impl::GiveWay() {
  constexpr absl::Duration kMost = absl::Milliseconds(1);
  constexpr absl::Duration kPause = absl::Seconds(1);
  const absl::Time start = absl::Now();
  if (start < gives_way_from_) return;
  std::this_thread::yield();
  const absl::Time end = absl::Now();
  if (end - start > kMost) gives_way_from_ = end + kPause;
}

// What is in the inbox by now fails in the next turn: the executor stays failed.
void Engine::Impl::Fail(const absl::Status& status) {
  {
    std::lock_guard lock(mutex_);
    healthy_ = false;
    refusal_ = absl::UnavailableError(absl::StrCat("the model has failed: ", status.ToString()));
  }
  executor_.EndAll(status);
}

Engine::Engine(std::unique_ptr<Model> model, const EngineOptions& options)
    : impl_(std::make_unique<Impl>(std::move(model), options)) {}

Engine::~Engine() = default;

absl::StatusOr<RequestId> Engine::Submit(Request request, std::shared_ptr<TokenSink> sink) {
  return impl_->Submit(std::move(request), std::move(sink));
}

void Engine::Cancel(RequestId id) { impl_->Cancel(id); }
bool Engine::Drain(absl::Time deadline) { return impl_->Drain(deadline); }
EngineStats Engine::stats() const { return impl_->stats(); }
bool Engine::healthy() const { return impl_->healthy(); }
const ModelInfo& Engine::model_info() const { return impl_->model_info(); }
const EngineOptions& Engine::options() const { return impl_->options(); }

}  // namespace retnet
