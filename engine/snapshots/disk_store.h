// Snapshots as files of one folder: DIR/owner-OWNER/ID.snapshot, the names percent-encoded. Behind
// the snapshot each file has its id, if that is too long for a name, which then is a hash of it,
// and when it expires; when it was used last is its time of modification. Other files in there are
// left alone. For one process at a time.
#ifndef RETNET_ENGINE_SNAPSHOTS_DISK_STORE_H_
#define RETNET_ENGINE_SNAPSHOTS_DISK_STORE_H_

#include <cstdint>
#include <list>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "engine/snapshots/snapshot_store.h"

namespace retnet {

// Thread-compatible.
class DiskStore : public SnapshotStore {
 public:
  // Makes the folder where there is none, finds what it holds, and removes what has expired or was
  // left half written. max_bytes bounds the files' sizes, 0 not at all; a file that is replaced
  // counts no more, though it is there until its successor is. A snapshot of more than
  // max_snapshot_bytes is not read: Get says DATA_LOSS. UNAVAILABLE while another process
  // has the folder; errors of the system for one that cannot be written.
  static absl::StatusOr<std::unique_ptr<DiskStore>> Open(const std::string& folder,
                                                         int64_t max_bytes,
                                                         int64_t max_snapshot_bytes = int64_t{1}
                                                                                      << 30);
  ~DiskStore() override;

  // INVALID_ARGUMENT, too, for an owner that makes no file name (80 bytes of any kind do, and 240
  // of letters and digits), and for an id of more than 1024 bytes.
  absl::Status Put(const SessionKey& key, std::string_view bytes, absl::Time expires,
                   const std::vector<SnapshotStamp>& over) override;
  absl::StatusOr<std::string> Get(const SessionKey& key) override;
  absl::StatusOr<SnapshotStamp> Stamp(const SessionKey& key) override;
  absl::Status Delete(const SessionKey& key) override;
  absl::StatusOr<std::vector<std::string>> List(const std::string& owner, const std::string& first,
                                                int32_t limit) override;
  absl::StatusOr<std::vector<std::string>> Heads(const std::string& owner,
                                                 const std::vector<std::string>& ids,
                                                 int64_t bytes) override;
  bool shared() const override { return false; }

  // Of all files, sizes as they are counted against max_bytes.
  int64_t bytes() const { return bytes_; }

 private:
  struct Entry {
    int64_t bytes = 0;
    absl::Time expires;
    SnapshotStamp stamp;
    std::list<SessionKey>::iterator use;  // its place in uses_
  };
  using Entries = std::map<SessionKey, Entry>;

  DiskStore(std::string folder, int64_t max_bytes, int64_t max_snapshot_bytes, int lock)
      : folder_(std::move(folder)),
        max_bytes_(max_bytes),
        max_snapshot_bytes_(max_snapshot_bytes),
        lock_(lock) {}

  std::string OwnerFolder(const std::string& owner) const;
  std::string Path(const SessionKey& key) const;
  absl::Status FindFiles();
  void Add(const SessionKey& key, int64_t bytes, absl::Time expires, SnapshotStamp stamp);
  void Forget(Entries::iterator entry);
  absl::Status Remove(Entries::iterator entry);
  absl::Status RemoveExpired();
  absl::Status MakeRoom(const SessionKey& key, int64_t bytes);

  const std::string folder_;
  const int64_t max_bytes_;
  const int64_t max_snapshot_bytes_;
  const int lock_;  // a descriptor; the system gives the lock back with the process

  Entries entries_;
  std::list<SessionKey> uses_;  // the least recent first
  std::set<std::pair<absl::Time, SessionKey>> expiries_;
  int64_t bytes_ = 0;
};

}  // namespace retnet

#endif  // RETNET_ENGINE_SNAPSHOTS_DISK_STORE_H_
