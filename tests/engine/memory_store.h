// A snapshot store in the test's memory, which outlives the engines that write to it.
#ifndef RETNET_TESTS_ENGINE_MEMORY_STORE_H_
#define RETNET_TESTS_ENGINE_MEMORY_STORE_H_

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "engine/snapshot_store.h"

namespace retnet {

class MemoryStore : public SnapshotStore {
 public:
  using Entries = std::map<SessionKey, std::string>;
  explicit MemoryStore(Entries* entries) : entries_(entries) {}

  absl::Status Put(const SessionKey& key, std::string_view bytes, absl::Time) override {
    (*entries_)[key] = std::string(bytes);
    return absl::OkStatus();
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
  absl::StatusOr<std::vector<std::string>> List(const std::string& owner) override {
    std::vector<std::string> ids;
    for (const auto& [key, bytes] : *entries_) {
      if (key.owner == owner) ids.push_back(key.id);
    }
    return ids;
  }

 private:
  Entries* const entries_;
};

}  // namespace retnet

#endif  // RETNET_TESTS_ENGINE_MEMORY_STORE_H_
