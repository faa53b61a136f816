#include "engine/snapshots/disk_store.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <optional>
#include <tuple>

#include "absl/strings/str_cat.h"
#include "engine/snapshots/durable_file.h"
#include "engine/snapshots/safe_name.h"
#include "engine/snapshots/snapshot_fields.h"
#include "kernels/status_macros.h"

namespace retnet {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kOwnerPrefix = "owner-";
constexpr std::string_view kSuffix = ".snapshot";
constexpr size_t kLongestName = 240;  // of the 255 bytes that file systems allow
constexpr size_t kLongestId = 1024;
// Begins the names of files whose ids make none: a hash of the id. No other name begins so.
constexpr char kHashed = '~';

// "RNETDISK" · i64 expires (ns) · u64 XXH3 of both
constexpr std::string_view kMagic = "RNETDISK";
constexpr int64_t kFooterBytes = 24;
constexpr int64_t kStampBytes = 8;  // at most

std::string Footer(absl::Time expires) {
  std::string footer(kMagic);
  FieldWriter out(&footer);
  out.Number(absl::ToUnixNanos(expires));
  out.Number(uint64_t{XXH3_64bits(footer.data(), footer.size())});
  return footer;
}

// None for bytes that are not a footer.
std::optional<absl::Time> ExpiresIn(std::string_view footer) {
  if (footer.size() != kFooterBytes) return std::nullopt;
  FieldReader in(footer.substr(kMagic.size()));
  const auto nanos = in.Number<int64_t>();
  const absl::Time expires = nanos == absl::ToUnixNanos(absl::InfiniteFuture())
                                 ? absl::InfiniteFuture()
                                 : absl::FromUnixNanos(nanos);
  if (Footer(expires) != footer) return std::nullopt;
  return expires;
}

std::string FileName(const std::string& id) {
  std::string name = SafeName(id);
  if (name.size() <= kLongestName) return name;
  const XXH128_hash_t hash = XXH3_128bits(id.data(), id.size());
  return absl::StrCat(std::string(1, kHashed), absl::Hex(hash.high64, absl::kZeroPad16),
                      absl::Hex(hash.low64, absl::kZeroPad16));
}

// What a file has behind the snapshot: the id (and its u32 length) where the name does not tell
// it, and the footer.
std::string Trailer(const std::string& id, absl::Time expires) {
  std::string trailer;
  if (FileName(id).front() == kHashed) {
    trailer = id;
    FieldWriter(&trailer).Number(static_cast<uint32_t>(id.size()));
  }
  return trailer + Footer(expires);
}

int64_t TrailerBytes(const std::string& id) {
  return static_cast<int64_t>(Trailer(id, absl::InfiniteFuture()).size());
}

// The id in a file's trailer, which is before the footer at the file's end; empty without one.
std::string IdIn(std::string_view end) {
  uint32_t length = 0;
  if (end.size() < kFooterBytes + sizeof(length)) return "";
  end.remove_suffix(kFooterBytes);
  length = FieldReader(end.substr(end.size() - sizeof(length))).Number<uint32_t>();
  end.remove_suffix(sizeof(length));
  return std::string(end.substr(end.size() - std::min<size_t>(length, end.size())));
}

// The session whose snapshot is in the file at `path`: its owner by the folder's name, its id by
// the file's name, or by the trailer in `end`, the file's last bytes, where the name is a hash.
// nullopt for a file that is not a snapshot of ours.
std::optional<SessionKey> KeyOf(const fs::path& path, std::string_view end) {
  std::string folder = path.parent_path().filename();
  std::string file = path.filename();
  if (!std::string_view(folder).starts_with(kOwnerPrefix) ||
      !std::string_view(file).ends_with(kSuffix)) {
    return std::nullopt;
  }
  auto owner = NameOfSafe(std::string_view(folder).substr(kOwnerPrefix.size()));
  auto id = file.front() == kHashed
                ? IdIn(end)
                : NameOfSafe(std::string_view(file).substr(0, file.size() - kSuffix.size()));
  if (!owner || !id) return std::nullopt;
  return SessionKey{*std::move(owner), *std::move(id)};
}

absl::Status CheckKey(const SessionKey& key) {
  if (const size_t length = SafeName(key.owner).size(); length > kLongestName) {
    return absl::InvalidArgumentError(absl::StrCat("the session's owner takes ", length,
                                                   " bytes in a file name; at most ", kLongestName,
                                                   " are possible"));
  }
  if (key.id.size() <= kLongestId) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("the session's id has ", key.id.size(),
                                                 " bytes; it must have at most ", kLongestId));
}

}  // namespace

absl::StatusOr<std::unique_ptr<DiskStore>> DiskStore::Open(const std::string& folder,
                                                           int64_t max_bytes,
                                                           int64_t max_snapshot_bytes) {
  std::error_code error;
  fs::create_directories(folder, error);
  if (error) return FileError(error.value(), folder);
  const std::string lock_path = folder + "/lock";
  const int lock = open(lock_path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (lock < 0) return FileError(errno, lock_path);
  std::unique_ptr<DiskStore> store(new DiskStore(folder, max_bytes, max_snapshot_bytes, lock));
  if (flock(lock, LOCK_EX | LOCK_NB) != 0) {
    return absl::UnavailableError(folder + " is in use by another process");
  }
  RETURN_IF_ERROR(store->FindFiles());
  RETURN_IF_ERROR(store->RemoveExpired());
  RETURN_IF_ERROR(store->MakeRoom(SessionKey(), /*bytes=*/0));
  return store;
}

DiskStore::~DiskStore() { close(lock_); }

std::string DiskStore::OwnerFolder(const std::string& owner) const {
  return absl::StrCat(folder_, "/owner-", SafeName(owner));
}

std::string DiskStore::Path(const SessionKey& key) const {
  return absl::StrCat(OwnerFolder(key.owner), "/", FileName(key.id), std::string(kSuffix));
}

absl::Status DiskStore::FindFiles() {
  unlink((folder_ + "/incoming").c_str());
  std::vector<std::tuple<fs::file_time_type, SessionKey, int64_t, absl::Time, SnapshotStamp>> found;
  std::error_code error;
  fs::recursive_directory_iterator file(folder_, fs::directory_options::skip_permission_denied,
                                        error);
  for (; !error && file != fs::recursive_directory_iterator(); file.increment(error)) {
    const std::string path = file->path();
    std::error_code unknown;
    if (!path.ends_with(kSuffix) || !file->is_regular_file(unknown)) continue;
    constexpr int64_t kMost = kFooterBytes + kStampBytes + sizeof(uint32_t) + kLongestId;
    const absl::StatusOr<std::string> end = ReadFileFrom(path, -kMost);
    if (!end.ok()) continue;
    const std::optional<SessionKey> key = KeyOf(path, *end);
    if (!key || path != Path(*key)) continue;
    const std::string_view footer =
        std::string_view(*end).substr(std::max<int64_t>(end->size() - kFooterBytes, 0));
    const int64_t before = std::max<int64_t>(end->size() - TrailerBytes(key->id), 0);
    // One without a footer is damaged, which Get will say; until then it takes its room.
    found.emplace_back(file->last_write_time(unknown), *key, file->file_size(unknown),
                       ExpiresIn(footer).value_or(absl::InfiniteFuture()),
                       StampOf(std::string_view(*end).substr(0, before)));
  }
  if (error) return FileError(error.value(), folder_);
  std::sort(found.begin(), found.end());
  for (const auto& [used, key, bytes, expires, stamp] : found) Add(key, bytes, expires, stamp);
  return absl::OkStatus();
}

void DiskStore::Add(const SessionKey& key, int64_t bytes, absl::Time expires, SnapshotStamp stamp) {
  if (const auto old = entries_.find(key); old != entries_.end()) Forget(old);
  entries_[key] = {bytes, expires, std::move(stamp), uses_.insert(uses_.end(), key)};
  expiries_.emplace(expires, key);
  bytes_ += bytes;
}

void DiskStore::Forget(Entries::iterator entry) {
  bytes_ -= entry->second.bytes;
  uses_.erase(entry->second.use);
  expiries_.erase({entry->second.expires, entry->first});
  entries_.erase(entry);
}

absl::Status DiskStore::Remove(Entries::iterator entry) {
  const std::string path = Path(entry->first);
  if (unlink(path.c_str()) != 0 && errno != ENOENT) return FileError(errno, path);
  rmdir(OwnerFolder(entry->first.owner).c_str());  // stays while it holds anything
  Forget(entry);
  return absl::OkStatus();
}

absl::Status DiskStore::RemoveExpired() {
  const absl::Time now = absl::Now();
  while (!expiries_.empty() && expiries_.begin()->first <= now) {
    RETURN_IF_ERROR(Remove(entries_.find(expiries_.begin()->second)));
  }
  return absl::OkStatus();
}

// For `bytes` of `key`, whose old file does not count and is not removed.
absl::Status DiskStore::MakeRoom(const SessionKey& key, int64_t bytes) {
  if (max_bytes_ == 0) return absl::OkStatus();
  if (bytes > max_bytes_) {
    return absl::ResourceExhaustedError(
        absl::StrCat("a snapshot of ", bytes, " bytes; the store holds at most ", max_bytes_));
  }
  const auto old = entries_.find(key);
  const int64_t replaced = old == entries_.end() ? 0 : old->second.bytes;
  auto least = uses_.begin();
  while (bytes_ - replaced + bytes > max_bytes_) {
    const SessionKey oldest = *least++;
    if (oldest == key) continue;
    RETURN_IF_ERROR(Remove(entries_.find(oldest)));
  }
  return absl::OkStatus();
}

absl::Status DiskStore::Put(const SessionKey& key, std::string_view bytes, absl::Time expires,
                            const std::vector<SnapshotStamp>& over) {
  RETURN_IF_ERROR(CheckKey(key));
  RETURN_IF_ERROR(RemoveExpired());
  RETURN_IF_ERROR(CheckReplaces(*Stamp(key), StampOf(bytes), over));
  const std::string trailer = Trailer(key.id, expires);
  const auto file_bytes = static_cast<int64_t>(bytes.size() + trailer.size());
  RETURN_IF_ERROR(MakeRoom(key, file_bytes));
  const std::string folder = OwnerFolder(key.owner);
  if (mkdir(folder.c_str(), 0700) == 0) {
    RETURN_IF_ERROR(SyncFolder(folder_));
  } else if (errno != EEXIST) {
    return FileError(errno, folder);
  }
  const absl::Status written = WriteDurably({bytes, trailer}, folder_ + "/incoming", Path(key));
  if (!written.ok()) {
    rmdir(folder.c_str());
    return written;
  }
  Add(key, file_bytes, expires, StampOf(bytes));
  return absl::OkStatus();
}

absl::StatusOr<std::string> DiskStore::Get(const SessionKey& key) {
  const absl::Status missing = absl::NotFoundError("no such snapshot");
  const auto entry = entries_.find(key);
  if (entry == entries_.end() || entry->second.expires <= absl::Now()) return missing;
  const std::string path = Path(key);
  // A byte more tells that there is more, whatever the size was when it was noted.
  const int64_t most = max_snapshot_bytes_ + TrailerBytes(key.id);
  absl::StatusOr<std::string> bytes =
      ReadFileFrom(path, 0, entry->second.bytes > most ? 0 : most + 1);
  if (absl::IsNotFound(bytes.status())) {  // somebody removed it
    Forget(entry);
    return missing;
  }
  RETURN_IF_ERROR(bytes.status());
  if (entry->second.bytes > most || bytes->size() > most) {
    return absl::DataLossError(absl::StrCat(path, ": a damaged file: it has more than the ", most,
                                            " bytes of the largest snapshot"));
  }
  const int64_t size = std::max<int64_t>(bytes->size() - TrailerBytes(key.id), 0);
  const int64_t footer = std::max<int64_t>(bytes->size() - kFooterBytes, 0);
  if (!ExpiresIn(std::string_view(*bytes).substr(footer))) {
    return absl::DataLossError(path + ": a damaged file: it does not end as a snapshot's");
  }
  bytes->resize(size);
  utimensat(AT_FDCWD, path.c_str(), nullptr, 0);  // only its place in the order is lost if it fails
  uses_.splice(uses_.end(), uses_, entry->second.use);
  return bytes;
}

absl::StatusOr<SnapshotStamp> DiskStore::Stamp(const SessionKey& key) {
  const auto entry = entries_.find(key);
  if (entry == entries_.end() || entry->second.expires <= absl::Now()) return SnapshotStamp();
  return entry->second.stamp;
}

absl::Status DiskStore::Delete(const SessionKey& key) {
  const auto entry = entries_.find(key);
  return entry == entries_.end() ? absl::OkStatus() : Remove(entry);
}

absl::StatusOr<std::vector<std::string>> DiskStore::List(const std::string& owner,
                                                         const std::string& first, int32_t limit) {
  const absl::Time now = absl::Now();
  std::vector<std::string> ids;
  for (auto entry = entries_.lower_bound({owner, first});
       entry != entries_.end() && entry->first.owner == owner && ids.size() < limit; ++entry) {
    if (entry->second.expires > now) ids.push_back(entry->first.id);
  }
  return ids;
}

absl::StatusOr<std::vector<std::string>> DiskStore::Heads(const std::string& owner,
                                                          const std::vector<std::string>& ids,
                                                          int64_t bytes) {
  std::vector<std::string> heads(ids.size());
  for (size_t i = 0; i < ids.size(); ++i) {
    const auto entry = entries_.find({owner, ids[i]});
    if (entry == entries_.end() || entry->second.expires <= absl::Now()) continue;
    const int64_t most = std::max<int64_t>(entry->second.bytes - TrailerBytes(ids[i]), 0);
    auto head = ReadFileFrom(Path(entry->first), 0, std::min(bytes, most));
    if (head.ok()) heads[i] = *std::move(head);  // what cannot be read, Get will tell of
  }
  return heads;
}

}  // namespace retnet
