#include "engine/engine.h"

#include <algorithm>
#include <functional>
#include <limits>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "engine/executor.h"
#include "engine/inbox.h"
#include "engine/scheduling/tenants.h"
#include "engine/validate.h"
#include "kernels/mutex.h"
#include "kernels/status_macros.h"

namespace retnet {
namespace {

// Snapshots that wait to be written take no more memory than states in host memory may, or a
// little where those may take none.
std::unique_ptr<SnapshotIo> MakeIo(std::unique_ptr<SnapshotStore> store,
                                   const SnapshotFormat& format, int64_t host_state_bytes) {
  if (store == nullptr) return nullptr;
  constexpr int64_t kLeast = 64 << 20;
  return std::make_unique<SnapshotIo>(std::move(store), format, std::max(kLeast, host_state_bytes));
}

}  // namespace

class Engine::Impl {
 public:
  Impl(std::unique_ptr<Model> model, const EngineOptions& options,
       std::unique_ptr<SnapshotStore> store, StoreListener listener)
      : info_(model->info()),
        options_(options),
        format_(MakeSnapshotFormat(info_, options.snapshots.encoding, options.snapshots.zstd_level,
                                   options_.snapshots.key.get())),
        store_(MakeIo(std::move(store), format_, options.executor.state_cache.host_bytes)),
        executor_(
            std::move(model), options.executor, store_.get(),
            [this](std::function<void()> task) { Post(std::move(task)); }, std::move(listener)) {
    counters_ = executor_.stats();
    if (store_ != nullptr && store_->shared()) Post([this] { executor_.sessions().ProbeStore(); });
    thread_ = std::thread([this] { Run(); });
  }

  ~Impl() {
    {
      const MutexLock lock(&mutex_);
      refusal_ = absl::UnavailableError("the engine is closing");
      inbox_.end_all = absl::CancelledError("the engine is closing");
      inbox_.closing = true;
    }
    wake_.NotifyOne();
    thread_.join();
    store_.reset();  // what it still tells goes to the inbox
    Inbox left;      // ends before the executor, to which its tasks refer
    const MutexLock lock(&mutex_);
    std::swap(left, inbox_);
  }

  absl::StatusOr<RequestId> Submit(Request request, std::shared_ptr<TokenSink> sink);
  void End(RequestId id, Ending ending);
  bool Drain(absl::Time deadline);
  EngineStats stats() const;
  bool healthy() const;
  const ModelInfo& model_info() const { return info_; }
  const EngineOptions& options() const { return options_; }
  const SnapshotFormat& format() const { return format_; }

  // Calls `method` of Sessions with the arguments, then `reply`, on the engine thread; or replies
  // why not.
  template <typename T, typename... Parameters, typename... Arguments>
  void Call(void (Sessions::*method)(Parameters...), const Reply<T>& reply,
            Arguments... arguments) {
    if (absl::Status refusal = Refusal(); !refusal.ok()) return reply(refusal);
    CallAlways(method, reply, std::move(arguments)...);
  }
  template <typename T, typename... Parameters, typename... Arguments>
  void CallAlways(void (Sessions::*method)(Parameters...), const Reply<T>& reply,
                  Arguments... arguments) {
    Post([this, method, reply, ... arguments = std::move(arguments)]() mutable {
      (executor_.sessions().*method)(std::move(arguments)..., reply);
    });
  }

 private:
  absl::Status Admissible(const Tenant& tenant) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  int64_t unfinished() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return accepted_ - counters_.requests_finished;
  }
  bool all_told() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return idle_ && inbox_.empty(); }

  absl::Status Refusal() const;
  void Post(std::function<void()> task);
  void Persist(absl::Time deadline);
  // Runs a task on the engine thread and waits until that has nothing more to do.
  void RunUntilIdle(std::function<void()> task);

  // --- The engine thread's.
  void Run();
  void AwaitInbox(Inbox* inbox);
  void PublishAndDeliver();
  void YieldToStreams();
  void Fail(const absl::Status& status);

  // --- Constant after construction.
  const ModelInfo info_;
  const EngineOptions options_;
  const SnapshotFormat format_;
  std::unique_ptr<SnapshotIo> store_;  // nullptr: none

  // --- For all threads. mutex_ is never held while a sink or the model is called.
  mutable Mutex mutex_;
  CondVar wake_;       // the inbox is not empty
  CondVar went_idle_;  // idle_ has become true
  Inbox inbox_ ABSL_GUARDED_BY(mutex_);
  // Not OK: why no request is accepted any more.
  absl::Status refusal_ ABSL_GUARDED_BY(mutex_);
  bool healthy_ ABSL_GUARDED_BY(mutex_) = true;
  // The engine thread waits, and has told every end.
  bool idle_ ABSL_GUARDED_BY(mutex_) = false;
  int64_t accepted_ ABSL_GUARDED_BY(mutex_) = 0;  // requests; the newest one's id
  int64_t refused_ ABSL_GUARDED_BY(mutex_) = 0;   // requests
  EngineStats counters_ ABSL_GUARDED_BY(mutex_);  // as the executor told them last
  Tenants tenants_ ABSL_GUARDED_BY(mutex_);       // of the unfinished requests

  // --- The engine thread's alone, once it runs. Behind what Post uses, which the model's transfers
  // call until the model is gone.
  Executor executor_;
  absl::Time gives_way_from_ = absl::InfinitePast();

  std::thread thread_;
};

// A tenant with less than its share is let in although the queue is full: the executor then ends a
// request of the tenant that has the most (ShortenQueue).
absl::Status Engine::Impl::Admissible(const Tenant& tenant) {
  RETURN_IF_ERROR(refusal_);
  // With so many unfinished, max_queue of them are left when every slot is taken.
  const int64_t most = int64_t{info_.slots} + options_.max_queue;
  if (unfinished() < most) return absl::OkStatus();
  Tenants::Entry* entry = tenants_.Join(tenant);
  const double share = tenants_.ShareOf(*entry) * static_cast<double>(most);
  const bool has_less = entry->sequences <= share;
  tenants_.Leave(entry);
  if (has_less) return absl::OkStatus();
  return absl::ResourceExhaustedError(
      absl::StrCat("the queue is full: max_queue = ", options_.max_queue, " requests wait and ",
                   info_.slots, " run; try again later"));
}

absl::StatusOr<RequestId> Engine::Impl::Submit(Request request, std::shared_ptr<TokenSink> sink) {
  absl::Status status = ValidateRequest(request, info_.vocab_size, options_.max_context_length);
  if (sink == nullptr) status.Update(absl::InvalidArgumentError("sink is null; it must be given"));
  if (status.ok()) {  // a flood of requests is refused before anything is made of them
    const MutexLock lock(&mutex_);
    status = Admissible(request.tenant);
  }
  std::unique_ptr<Sequence> sequence;
  if (status.ok()) {  // made before the lock is taken: penalties read the whole prompt
    sequence = std::make_unique<Sequence>(std::move(request), std::move(sink),
                                          options_.max_context_length, absl::Now());
  }
  MutexLock lock(&mutex_);
  if (status.ok()) status = Admissible(sequence->request().tenant);
  if (!status.ok()) {
    ++refused_;
    return status;
  }
  const RequestId id = ++accepted_;
  sequence->set_id(id);
  tenants_.Join(sequence->request().tenant);
  inbox_.sequences.push_back(std::move(sequence));
  lock.Unlock();
  wake_.NotifyOne();
  return id;
}

void Engine::Impl::End(RequestId id, Ending ending) {
  {
    const MutexLock lock(&mutex_);
    inbox_.endings.emplace_back(id, ending);
  }
  wake_.NotifyOne();
}

absl::Status Engine::Impl::Refusal() const {
  const MutexLock lock(&mutex_);
  return refusal_;
}

void Engine::Impl::Post(std::function<void()> task) {
  {
    const MutexLock lock(&mutex_);
    inbox_.tasks.push_back(std::move(task));
  }
  wake_.NotifyOne();
}

bool Engine::Impl::Drain(absl::Time deadline) {
  MutexLock lock(&mutex_);
  refusal_.Update(absl::UnavailableError("the engine is draining; no request is accepted"));
  while (!all_told() && went_idle_.WaitUntil(&mutex_, absl::ToChronoTime(deadline))) continue;
  const bool finished = all_told();
  if (!finished) {
    inbox_.end_all =
        absl::UnavailableError("the engine was drained before the request had finished");
    wake_.NotifyOne();
    while (!all_told()) went_idle_.Wait(&mutex_);
  }
  lock.Unlock();
  if (store_ != nullptr) Persist(deadline);
  return finished;
}

// Sessions that the store does not have are given to it, as many at a time as its queue takes; the
// reads of their states end before the engine is idle again.
void Engine::Impl::Persist(absl::Time deadline) {
  deadline = std::max(deadline, absl::Now() + options_.store_grace);
  int32_t left = std::numeric_limits<int32_t>::max();
  for (int32_t before = 0; left > 0;) {
    before = std::exchange(left, 0);
    RunUntilIdle([this, &left] { left = executor_.sessions().WriteAll(); });
    if (left >= before || !store_->Flush(deadline).ok()) break;
  }
  RunUntilIdle([this] { executor_.sessions().CountNotStored(); });
}

void Engine::Impl::RunUntilIdle(std::function<void()> task) {
  MutexLock lock(&mutex_);
  inbox_.tasks.push_back(std::move(task));
  wake_.NotifyOne();
  while (!all_told()) went_idle_.Wait(&mutex_);
}

EngineStats Engine::Impl::stats() const {
  const MutexLock lock(&mutex_);
  EngineStats stats = counters_;
  stats.waiting = static_cast<int32_t>(unfinished() - stats.running);
  stats.requests_refused = refused_;
  if (store_ != nullptr) stats.snapshots = store_->stats();
  return stats;
}

bool Engine::Impl::healthy() const {
  const MutexLock lock(&mutex_);
  return healthy_;
}

void Engine::Impl::Run() {
  Inbox inbox;
  while (!inbox.closing) {
    AwaitInbox(&inbox);
    for (const auto& task : inbox.tasks) task();
    for (auto& sequence : inbox.sequences) executor_.Admit(std::move(sequence));
    for (const auto& [id, ending] : inbox.endings) {
      ending == Ending::kCancel ? executor_.Cancel(id) : executor_.Stop(id);
    }
    if (!inbox.end_all.ok()) executor_.EndAll(inbox.end_all);
    executor_.Prepare(absl::Now());
    executor_.ShortenQueue(options_.max_queue);
    PublishAndDeliver();  // nobody who has ended waits for the step
    if (absl::Status status = executor_.Step(); !status.ok()) Fail(status);
    PublishAndDeliver();
    YieldToStreams();
  }
  executor_.Close();
}

// Waits only when nothing can be computed: no sequence is there, or those that are wait for states
// to be moved or read.
void Engine::Impl::AwaitInbox(Inbox* inbox) {
  inbox->Clear();
  MutexLock lock(&mutex_);
  if (executor_.stalled() && inbox_.empty()) {
    idle_ = executor_.idle() && !executor_.transferring();
    if (idle_) went_idle_.NotifyAll();
    // An InfiniteFuture would overflow the clock of the condition.
    if (const absl::Time event = executor_.next_event(); event < absl::InfiniteFuture()) {
      while (inbox_.empty() && wake_.WaitUntil(&mutex_, absl::ToChronoTime(event))) continue;
    } else {
      while (inbox_.empty()) wake_.Wait(&mutex_);
    }
    idle_ = false;
  }
  std::swap(*inbox, inbox_);
}

// First for everybody to see, then to the sinks: who has been told of an end finds the slot free.
void Engine::Impl::PublishAndDeliver() {
  {
    const MutexLock lock(&mutex_);
    counters_ = executor_.stats();
    executor_.ForEachEnded([this](const Tenant& tenant) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
      tenants_.Leave(tenants_.Find(tenant));
    });
  }
  executor_.Deliver();
}

// Lets the threads that carry the answers away run first where they share a processor with this
// one: steps follow each other without a wait, and the kernel may leave a thread it has woken
// waiting for 4 ms, so that a token finds the last one's write unfinished. Not while a busy
// neighbour takes the processor for a whole time slice whenever it is offered.
void Engine::Impl::YieldToStreams() {
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
    const MutexLock lock(&mutex_);
    healthy_ = false;
    refusal_ = absl::UnavailableError(absl::StrCat("the model has failed: ", status.ToString()));
  }
  executor_.EndAll(status);
}

Engine::Engine(std::unique_ptr<Model> model, const EngineOptions& options,
               std::unique_ptr<SnapshotStore> store, StoreListener listener)
    : impl_(std::make_unique<Impl>(std::move(model), options, std::move(store),
                                   std::move(listener))) {}

Engine::~Engine() = default;

absl::StatusOr<RequestId> Engine::Submit(Request request, std::shared_ptr<TokenSink> sink) {
  return impl_->Submit(std::move(request), std::move(sink));
}

void Engine::CreateSession(SessionSpec spec, Reply<SessionInfo> reply) {
  impl_->Call(&Sessions::Create, reply, std::move(spec), absl::Now());
}

void Engine::GetSession(SessionKey key, Reply<SessionInfo> reply) {
  impl_->Call(&Sessions::Get, reply, std::move(key));
}

void Engine::ListSessions(std::string owner, std::string after, int32_t limit,
                          Reply<std::vector<SessionInfo>> reply) {
  impl_->Call(&Sessions::List, reply, std::move(owner), std::move(after), limit);
}

void Engine::ForkSession(SessionKey key, std::vector<std::string> ids,
                         Reply<std::vector<SessionInfo>> reply) {
  impl_->Call(&Sessions::Fork, reply, std::move(key), std::move(ids), absl::Now());
}

void Engine::RewindSession(SessionKey key, Rewind rewind, Reply<SessionInfo> reply) {
  impl_->Call(&Sessions::Rewind, reply, std::move(key), rewind, absl::Now());
}

void Engine::DeleteSession(SessionKey key, Reply<SessionInfo> reply) {
  impl_->CallAlways(&Sessions::Delete, reply, std::move(key));
}

void Engine::ExportSession(SessionKey key, Reply<Snapshot> reply) {
  impl_->Call(&Sessions::Export, reply, std::move(key));
}

void Engine::ImportSession(SessionSpec spec, Snapshot snapshot, Reply<SessionInfo> reply) {
  impl_->Call(&Sessions::Import, reply, std::move(spec), std::move(snapshot), absl::Now());
}

const SnapshotFormat& Engine::snapshot_format() const { return impl_->format(); }

void Engine::Cancel(RequestId id) { impl_->End(id, Ending::kCancel); }
void Engine::Stop(RequestId id) { impl_->End(id, Ending::kStop); }
bool Engine::Drain(absl::Time deadline) { return impl_->Drain(deadline); }
EngineStats Engine::stats() const { return impl_->stats(); }
bool Engine::healthy() const { return impl_->healthy(); }
const ModelInfo& Engine::model_info() const { return impl_->model_info(); }
const EngineOptions& Engine::options() const { return impl_->options(); }

}  // namespace retnet
