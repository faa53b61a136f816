// Opens files that are only to be read, whatever lies at their path.
#ifndef RETNET_KERNELS_REGULAR_FILE_H_
#define RETNET_KERNELS_REGULAR_FILE_H_

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"

namespace retnet {

// An open descriptor, which it closes. Movable.
class RegularFile {
 public:
  // NOT_FOUND if there is no such file. INVALID_ARGUMENT if it cannot be opened, or is a folder, a
  // FIFO, a socket or a device. Never waits for a writer of a FIFO, which a plain open would do.
  // Follows symbolic links.
  static absl::StatusOr<RegularFile> Open(const std::string& path);

  RegularFile(RegularFile&& other) noexcept;
  RegularFile& operator=(RegularFile&&) = delete;
  ~RegularFile();

  int descriptor() const { return descriptor_; }
  int64_t size() const { return size_; }  // at the time of Open

 private:
  RegularFile(int descriptor, int64_t size) : descriptor_(descriptor), size_(size) {}

  int descriptor_;
  int64_t size_;
};

// All bytes of a file. Errors as RegularFile::Open, and INVALID_ARGUMENT if reading fails.
absl::StatusOr<std::string> ReadRegularFile(const std::string& path);

}  // namespace retnet

#endif  // RETNET_KERNELS_REGULAR_FILE_H_
