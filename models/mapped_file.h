// A file mapped read-only into memory.
#ifndef RETNET_MODELS_MAPPED_FILE_H_
#define RETNET_MODELS_MAPPED_FILE_H_

#include <cstddef>
#include <span>
#include <string>

#include "absl/status/statusor.h"

namespace retnet {

// Owns the mapping; the destructor removes it. Movable.
class MappedFile {
 public:
  // Errors as RegularFile::Open, and INVALID_ARGUMENT if it cannot be mapped.
  static absl::StatusOr<MappedFile> Open(const std::string& path);

  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&&) = delete;
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;
  ~MappedFile();

  std::span<const std::byte> bytes() const { return bytes_; }
  // Takes the whole pages of `part` out of this process's memory, if it is a part of the file. They
  // come back when they are used again.
  void Release(std::span<const std::byte> part) const;

 private:
  explicit MappedFile(std::span<const std::byte> bytes) : bytes_(bytes) {}

  std::span<const std::byte> bytes_;
};

}  // namespace retnet

#endif  // RETNET_MODELS_MAPPED_FILE_H_
