// A snapshot store in the test's memory, which outlives the engines that write to it.
#ifndef RETNET_TESTS_ENGINE_SNAPSHOTS_MEMORY_STORE_H_
#define RETNET_TESTS_ENGINE_SNAPSHOTS_MEMORY_STORE_H_

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "engine/snapshots/snapshot_store.h"

namespace retnet {

// Not thread-safe: a test looks into the entries while no operation runs.
class MemoryStore : public SnapshotStore {
 public:
  using Entries = std::map<SessionKey, std::string>;
  explicit MemoryStore(Entries* entries, bool shared = false)
      : entries_(entries), shared_(shared) {}

  bool shared() const override { return shared_; }
  absl::Status Put(const SessionKey& key, std::string_view bytes, absl::Time,
                   const std::vector<SnapshotStamp>& over) override {
    const absl::Status status = CheckReplaces(*MemoryStore::Stamp(key), StampOf(bytes), over);
    if (status.ok()) (*entries_)[key] = std::string(bytes);
    return status;
  }
  absl::StatusOr<std::string> Get(const SessionKey& key) override {
    const auto entry = entries_->find(key);
    if (entry == entries_->end()) return absl::NotFoundError("it is not there");
    return entry->second;
  }
  absl::Status Delete(const SessionKey& key) override {
    entries_->erase(key);
    return absl::OkStatus();
  }
  absl::StatusOr<SnapshotStamp> Stamp(const SessionKey& key) override {
    const auto entry = entries_->find(key);
    return entry == entries_->end() ? SnapshotStamp() : StampOf(entry->second);
  }
  absl::StatusOr<std::vector<std::string>> List(const std::string& owner, const std::string& first,
                                                int32_t limit) override {
    std::vector<std::string> ids;
    for (const auto& [key, bytes] : *entries_) {
      if (key.owner == owner && key.id >= first && ids.size() < limit) ids.push_back(key.id);
    }
    return ids;
  }
  absl::StatusOr<std::vector<std::string>> Heads(const std::string& owner,
                                                 const std::vector<std::string>& ids,
                                                 int64_t bytes) override {
    std::vector<std::string> heads;
    for (const std::string& id : ids) {
      const auto entry = entries_->find({owner, id});
      heads.push_back(entry == entries_->end() ? "" : entry->second.substr(0, bytes));
    }
    return heads;
  }

 private:
  Entries* const entries_;
  const bool shared_;
};

}  // namespace retnet

#endif  // RETNET_TESTS_ENGINE_SNAPSHOTS_MEMORY_STORE_H_
