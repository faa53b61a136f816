#include "engine/snapshots/snapshot_io.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "kernels/status_macros.h"

namespace retnet {
namespace {

// What is read of a snapshot to tell of its session: more than nearly all need.
constexpr int64_t kHeadBytes = 4 << 10;

int64_t BytesOf(const Snapshot& snapshot) {
  const size_t state = snapshot.state == nullptr ? 0 : snapshot.state->size();
  return static_cast<int64_t>(state + snapshot.history.size() * sizeof(TokenId));
}

}  // namespace

SnapshotIo::SnapshotIo(std::unique_ptr<SnapshotStore> store, const SnapshotFormat& format,
                       int64_t max_queued_bytes)
    : format_(format),
      max_queued_bytes_(max_queued_bytes),
      shared_(store->shared()),
      store_(std::move(store)),
      thread_([this] { RunAll(); }) {}

SnapshotIo::~SnapshotIo() {
  {
    const MutexLock lock(&mutex_);
    stopping_ = true;
  }
  added_.NotifyOne();
  thread_.join();
}

SnapshotIo::Operation* SnapshotIo::ReplaceablePut(const SessionKey& key) {
  const auto last = last_.find(key);
  if (last == last_.end()) return nullptr;
  Operation& operation = queue_[last->second - queue_.front().number];
  return operation.run == nullptr ? &operation : nullptr;
}

void SnapshotIo::Put(Snapshot snapshot, std::shared_ptr<SnapshotLineage> lineage, Done done) {
  const int64_t bytes = BytesOf(snapshot);
  const MutexLock lock(&mutex_);
  Operation* put = ReplaceablePut(snapshot.key);
  const int64_t others = stats_.queued_bytes - (put == nullptr ? 0 : put->bytes);
  if (others > 0 && others + bytes > max_queued_bytes_) {
    ++stats_.queue_full;
    Add(std::nullopt, [done = std::move(done), bytes, others] {
      done(absl::CancelledError(absl::StrCat("a snapshot of ", bytes, " bytes behind ", others,
                                             " that wait to be stored")));
    });
    return;
  }
  if (put == nullptr) {
    Add(snapshot.key, nullptr);
    put = &queue_.back();
  } else {
    ++stats_.replaced;
  }
  put->snapshot = std::move(snapshot);
  put->lineage = std::move(lineage);
  put->done.push_back(std::move(done));
  put->bytes = bytes;
  stats_.queued_bytes = others + bytes;
}

void SnapshotIo::Get(SessionKey key, std::shared_ptr<SnapshotLineage> lineage,
                     std::function<void(absl::StatusOr<Snapshot>)> done) {
  const MutexLock lock(&mutex_);
  Add(key, [this, key, lineage = std::move(lineage), done = std::move(done)] {
    done(Read(key, lineage.get()));
  });
}

void SnapshotIo::Check(SessionKey key, std::shared_ptr<SnapshotLineage> lineage,
                       std::function<void(absl::StatusOr<bool>)> done) {
  const MutexLock lock(&mutex_);
  const bool waits = last_.contains(key);
  auto run = [this, key, lineage = std::move(lineage), done = std::move(done)] {
    done(IsChanged(key, *lineage));
  };
  if (waits) return Add(key, std::move(run));
  urgent_.push_back(std::move(run));
  added_.NotifyOne();
}

void SnapshotIo::Delete(SessionKey key, Done done) {
  const MutexLock lock(&mutex_);
  Add(key, [this, key, done = std::move(done)] {
    const absl::Status status = store_->Delete(key);
    CountFailure(status);
    done(status);
  });
}

void SnapshotIo::List(std::string owner, std::string after, int32_t limit,
                      std::function<void(absl::StatusOr<std::vector<SessionInfo>>)> done) {
  const MutexLock lock(&mutex_);
  Add(std::nullopt,
      [this, owner = std::move(owner), after = std::move(after), limit, done = std::move(done)] {
        auto infos = ReadHeads(owner, after, limit);
        CountFailure(infos.status());
        done(std::move(infos));
      });
}

void SnapshotIo::CountConflict() {
  const MutexLock lock(&mutex_);
  ++stats_.conflicts;
}

void SnapshotIo::CountFailure(const absl::Status& status) {
  if (status.ok()) return;
  const MutexLock lock(&mutex_);
  ++stats_.failed;
}

absl::Status SnapshotIo::Flush(absl::Time deadline) {
  MutexLock lock(&mutex_);
  const uint64_t last = next_number_ - 1;
  while (finished_ < last) {
    if (deadline == absl::InfiniteFuture()) {
      finished_one_.Wait(&mutex_);
    } else if (!finished_one_.WaitUntil(&mutex_, absl::ToChronoTime(deadline))) {
      break;
    }
  }
  if (finished_ >= last) return absl::OkStatus();
  return absl::DeadlineExceededError(
      absl::StrCat(last - finished_, " operations on snapshots are not done"));
}

SnapshotIoStats SnapshotIo::stats() const {
  const MutexLock lock(&mutex_);
  return stats_;
}

void SnapshotIo::Add(std::optional<SessionKey> key, std::function<void()> run) {
  Operation& operation = queue_.emplace_back();
  operation.number = next_number_++;
  operation.run = std::move(run);
  if (key) last_[*key] = operation.number;
  operation.key = std::move(key);
  added_.NotifyOne();
}

void SnapshotIo::RunAll() {
  MutexLock lock(&mutex_);
  while (true) {
    while (!stopping_ && queue_.empty() && urgent_.empty()) added_.Wait(&mutex_);
    if (!urgent_.empty()) {
      const std::function<void()> run = std::move(urgent_.front());
      urgent_.pop_front();
      lock.Unlock();
      run();
      lock.Lock();
      continue;
    }
    if (queue_.empty()) return;
    {
      Operation operation = std::move(queue_.front());
      queue_.pop_front();
      ForgetLast(operation);
      lock.Unlock();
      if (operation.run == nullptr) {
        RunPut(operation);
      } else {
        operation.run();
      }
    }
    lock.Lock();
    ++finished_;
    finished_one_.NotifyAll();
  }
}

void SnapshotIo::ForgetLast(const Operation& operation) {
  if (!operation.key) return;
  const auto last = last_.find(*operation.key);
  if (last->second == operation.number) last_.erase(last);
}

void SnapshotIo::RunPut(Operation& put) {
  const absl::Status status = Write(put.snapshot, put.lineage.get());
  put.snapshot.state.reset();
  {
    const MutexLock lock(&mutex_);
    stats_.queued_bytes -= put.bytes;
    if (!status.ok()) ++(absl::IsAborted(status) ? stats_.conflicts : stats_.failed);
  }
  for (const Done& done : put.done) done(status);
}

absl::Status SnapshotIo::Write(const Snapshot& snapshot, SnapshotLineage* lineage) {
  ASSIGN_OR_RETURN(const std::string bytes, EncodeSnapshot(snapshot, format_));
  const absl::Status status = store_->Put(snapshot.key, bytes, snapshot.expires, lineage->stamps);
  const bool unknown = absl::IsUnavailable(status) || absl::IsInternal(status);
  if (unknown) lineage->stamps.push_back(StampOf(bytes));  // maybe it is there
  RETURN_IF_ERROR(status);
  lineage->stamps = {StampOf(bytes)};
  const MutexLock lock(&mutex_);
  ++stats_.written;
  stats_.written_bytes += static_cast<int64_t>(bytes.size());
  return absl::OkStatus();
}

// What the store has dropped for lack of room, or lost, is still to be had here.
absl::StatusOr<bool> SnapshotIo::IsChanged(const SessionKey& key, const SnapshotLineage& lineage) {
  const absl::StatusOr<SnapshotStamp> stamp = store_->Stamp(key);
  CountFailure(stamp.status());
  RETURN_IF_ERROR(stamp.status());
  const auto& known = lineage.stamps;
  return !stamp->empty() && std::find(known.begin(), known.end(), *stamp) == known.end();
}

absl::StatusOr<std::vector<SessionInfo>> SnapshotIo::ReadHeads(const std::string& owner,
                                                               const std::string& after,
                                                               int32_t limit) {
  const absl::Time now = absl::Now();
  std::vector<SessionInfo> infos;
  const auto next_of = [](std::string id) { return std::move(id) + '\0'; };
  std::string first = after.empty() ? after : next_of(after);
  while (true) {
    ASSIGN_OR_RETURN(const std::vector<std::string> ids, store_->List(owner, first, limit));
    if (ids.empty()) return infos;
    ASSIGN_OR_RETURN(const std::vector<std::string> heads, store_->Heads(owner, ids, kHeadBytes));
    for (size_t i = 0; i < ids.size() && infos.size() < limit; ++i) {
      const SessionKey key = {owner, ids[i]};
      absl::StatusOr<SessionInfo> info = ReadHead(key, heads[i]);
      if (absl::IsUnavailable(info.status())) return info.status();
      if (info.ok() && info->key == key && info->expires > now) infos.push_back(*std::move(info));
    }
    if (infos.size() == limit || ids.size() < limit) return infos;
    first = next_of(ids.back());
  }
}

absl::StatusOr<SessionInfo> SnapshotIo::ReadHead(const SessionKey& key, std::string head) {
  for (int64_t bytes = kHeadBytes;;) {
    absl::StatusOr<SessionInfo> info = DecodeSnapshotHead(head, format_);
    const bool whole = static_cast<int64_t>(head.size()) < bytes;
    if (whole || !absl::IsOutOfRange(info.status())) return info;
    bytes *= 16;
    ASSIGN_OR_RETURN(std::vector<std::string> longer, store_->Heads(key.owner, {key.id}, bytes));
    head = std::move(longer.front());
  }
}

absl::StatusOr<Snapshot> SnapshotIo::Read(const SessionKey& key, SnapshotLineage* lineage) {
  const absl::StatusOr<std::string> bytes = store_->Get(key);
  absl::StatusOr<Snapshot> snapshot = bytes.ok() ? DecodeSnapshot(*bytes, format_) : bytes.status();
  if (snapshot.ok() && !(snapshot->key == key)) {
    snapshot = absl::FailedPreconditionError("the snapshot is of another session");
  } else if (snapshot.ok() && snapshot->expires <= absl::Now()) {
    snapshot = absl::NotFoundError("the snapshot has expired");
  }
  if (snapshot.ok()) lineage->stamps = {StampOf(*bytes)};
  CountRead(snapshot.status(), bytes.ok() ? static_cast<int64_t>(bytes->size()) : 0);
  return snapshot;
}

void SnapshotIo::CountRead(const absl::Status& status, int64_t bytes) {
  const MutexLock lock(&mutex_);
  switch (status.code()) {
    case absl::StatusCode::kOk:
      ++stats_.read;
      stats_.read_bytes += bytes;
      break;
    case absl::StatusCode::kNotFound:
      ++stats_.missing;
      break;
    case absl::StatusCode::kDataLoss:
      ++stats_.refused_damaged;
      break;
    case absl::StatusCode::kFailedPrecondition:
      ++stats_.refused_foreign;
      break;
    default:
      ++stats_.failed;
  }
}

}  // namespace retnet
