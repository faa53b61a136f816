#include "models/mapped_file.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <functional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "kernels/regular_file.h"
#include "kernels/status_macros.h"

namespace retnet {
absl::StatusOr<MappedFile> MappedFile::Open(const std::string& path) {
  ASSIGN_OR_RETURN(const RegularFile file, RegularFile::Open(path));
  const auto size = static_cast<size_t>(file.size());
  // The system refuses an empty mapping, but an empty file is not an error here.
  if (size == 0) return MappedFile({});
  void* const data = mmap(nullptr, size, PROT_READ, MAP_PRIVATE, file.descriptor(), 0);
  if (data == MAP_FAILED) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": ", std::strerror(errno)));
  }
  // Weights are packed once, from front to back: read ahead, and do not keep pages after use.
  madvise(data, size, MADV_SEQUENTIAL);
  return MappedFile({static_cast<const std::byte*>(data), size});
}

void MappedFile::Release(std::span<const std::byte> part) const {
  const std::less_equal<> before;  // of pointers into different mappings, too
  if (part.empty() || !before(bytes_.data(), part.data()) ||
      !before(part.data() + part.size(), bytes_.data() + bytes_.size())) {
    return;
  }
  // A mapping begins with a page.
  const auto page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  const auto offset = static_cast<size_t>(part.data() - bytes_.data());
  const size_t first = (offset + page - 1) / page * page;
  const size_t last = (offset + part.size()) / page * page;
  if (first >= last) return;
  madvise(const_cast<std::byte*>(bytes_.data()) + first, last - first, MADV_DONTNEED);
}

MappedFile::MappedFile(MappedFile&& other) noexcept : bytes_(std::exchange(other.bytes_, {})) {}

MappedFile::~MappedFile() {
  if (!bytes_.empty()) munmap(const_cast<std::byte*>(bytes_.data()), bytes_.size());
}

}  // namespace retnet
