#include "engine/snapshots/durable_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>

#include "kernels/status_macros.h"

namespace retnet {
namespace {

class Descriptor {
 public:
  Descriptor(const std::string& path, int flags) : fd_(open(path.c_str(), flags, 0600)) {}
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  ~Descriptor() {
    if (fd_ >= 0) close(fd_);
  }

  int get() const { return fd_; }

 private:
  const int fd_;
};

absl::Status WriteParts(std::initializer_list<std::string_view> parts, const std::string& path) {
  const Descriptor file(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW);
  if (file.get() < 0) return FileError(errno, path);
  for (std::string_view part : parts) {
    while (!part.empty()) {
      const ssize_t written = write(file.get(), part.data(), part.size());
      if (written < 0 && errno == EINTR) continue;
      if (written < 0) return FileError(errno, path);
      part.remove_prefix(written);
    }
  }
  return fsync(file.get()) == 0 ? absl::OkStatus() : FileError(errno, path);
}

}  // namespace

absl::Status FileError(int error, const std::string& path) {
  if (error == EFBIG) {
    return absl::ResourceExhaustedError(path + ": the file size limit is reached");
  }
  return absl::ErrnoToStatus(error, path);
}

absl::Status WriteDurably(std::initializer_list<std::string_view> parts,
                          const std::string& incoming, const std::string& path) {
  absl::Status status = WriteParts(parts, incoming);
  if (status.ok() && rename(incoming.c_str(), path.c_str()) != 0) status = FileError(errno, path);
  if (!status.ok()) {
    unlink(incoming.c_str());
    return status;
  }
  return SyncFolder(path.substr(0, path.rfind('/')));
}

absl::Status SyncFolder(const std::string& path) {
  const Descriptor folder(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (folder.get() < 0 || fsync(folder.get()) != 0) return FileError(errno, path);
  return absl::OkStatus();
}

absl::StatusOr<std::string> ReadFileFrom(const std::string& path, int64_t offset, int64_t most) {
  const Descriptor file(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
  struct stat status;
  if (file.get() < 0 || fstat(file.get(), &status) != 0) return FileError(errno, path);
  if (!S_ISREG(status.st_mode)) return absl::InvalidArgumentError(path + " is not a regular file");
  const int64_t size = status.st_size;
  const int64_t first = std::clamp<int64_t>(offset < 0 ? size + offset : offset, 0, size);
  std::string bytes(std::min(size - first, most), '\0');
  size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t got = pread(file.get(), bytes.data() + done, bytes.size() - done, first + done);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return FileError(errno, path);
    if (got == 0) break;  // cut short meanwhile
    done += got;
  }
  bytes.resize(done);
  return bytes;
}

}  // namespace retnet
