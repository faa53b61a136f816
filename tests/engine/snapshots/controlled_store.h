// A snapshot store that a test holds up and makes fail.
#ifndef RETNET_TESTS_ENGINE_SNAPSHOTS_CONTROLLED_STORE_H_
#define RETNET_TESTS_ENGINE_SNAPSHOTS_CONTROLLED_STORE_H_

#include <condition_variable>
#include <map>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tests/engine/snapshots/memory_store.h"

namespace retnet {

// What a test knows of a store that another thread owns. Thread-safe.
class StoreControl {
 public:
  // From now on every call stops before it does anything, until Release.
  void Hold() {
    std::lock_guard lock(mutex_);
    held_ = true;
  }
  void Release() {
    std::lock_guard lock(mutex_);
    held_ = false;
    changed_.notify_all();
  }
  void AwaitStopped() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return stopped_; });
  }
  void Fail(absl::Status status) {
    std::lock_guard lock(mutex_);
    failure_ = std::move(status);
  }
  std::map<SessionKey, std::string>& bytes() { return bytes_; }  // only while the store is idle
  std::vector<std::string> calls() {
    std::lock_guard lock(mutex_);
    return calls_;
  }

  absl::Status Enter(const std::string& call) {
    std::unique_lock lock(mutex_);
    stopped_ = true;
    changed_.notify_all();
    changed_.wait(lock, [this] { return !held_; });
    stopped_ = false;
    calls_.push_back(call);
    return failure_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool held_ = false;
  bool stopped_ = false;
  absl::Status failure_;
  std::vector<std::string> calls_;
  std::map<SessionKey, std::string> bytes_;
};

class ControlledStore : public MemoryStore {
 public:
  explicit ControlledStore(StoreControl* control)
      : MemoryStore(&control->bytes(), /*shared=*/true), control_(*control) {}

  absl::Status Put(const SessionKey& key, std::string_view bytes, absl::Time expires,
                   const std::vector<SnapshotStamp>& over) override {
    const absl::Status status = control_.Enter("put " + key.id);
    return status.ok() ? MemoryStore::Put(key, bytes, expires, over) : status;
  }
  absl::StatusOr<std::string> Get(const SessionKey& key) override {
    const absl::Status status = control_.Enter("get " + key.id);
    return status.ok() ? MemoryStore::Get(key) : status;
  }
  absl::StatusOr<SnapshotStamp> Stamp(const SessionKey& key) override {
    const absl::Status status = control_.Enter("stamp " + key.id);
    return status.ok() ? MemoryStore::Stamp(key) : status;
  }
  absl::Status Delete(const SessionKey& key) override {
    const absl::Status status = control_.Enter("delete " + key.id);
    return status.ok() ? MemoryStore::Delete(key) : status;
  }
  absl::StatusOr<std::vector<std::string>> List(const std::string& owner, const std::string& first,
                                                int32_t limit) override {
    const absl::Status status = control_.Enter("list " + owner);
    return status.ok() ? MemoryStore::List(owner, first, limit) : status;
  }

 private:
  StoreControl& control_;
};

}  // namespace retnet

#endif  // RETNET_TESTS_ENGINE_SNAPSHOTS_CONTROLLED_STORE_H_
