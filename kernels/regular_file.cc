#include "kernels/regular_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "kernels/status_macros.h"

namespace retnet {
namespace {

absl::Status Failure(const std::string& path, int error) {
  const std::string message = absl::StrCat(path, ": ", std::strerror(error));
  return error == ENOENT ? absl::NotFoundError(message) : absl::InvalidArgumentError(message);
}

}  // namespace

absl::StatusOr<RegularFile> RegularFile::Open(const std::string& path) {
  const int descriptor = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
  if (descriptor < 0) return Failure(path, errno);
  RegularFile file(descriptor, 0);
  struct stat status;
  if (fstat(descriptor, &status) != 0) return Failure(path, errno);
  if (!S_ISREG(status.st_mode)) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, ": not a regular file, but a folder, a FIFO, a socket or a device"));
  }
  file.size_ = status.st_size;
  return file;
}

RegularFile::RegularFile(RegularFile&& other) noexcept
    : descriptor_(std::exchange(other.descriptor_, -1)), size_(other.size_) {}

RegularFile::~RegularFile() {
  if (descriptor_ >= 0) close(descriptor_);
}

absl::StatusOr<std::string> ReadRegularFile(const std::string& path) {
  ASSIGN_OR_RETURN(const RegularFile file, RegularFile::Open(path));
  std::string bytes;
  char part[1 << 14];
  while (true) {
    const ssize_t got = read(file.descriptor(), part, sizeof(part));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return Failure(path, errno);
    if (got == 0) return bytes;
    bytes.append(part, static_cast<size_t>(got));
  }
}

}  // namespace retnet
