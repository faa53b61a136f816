// File descriptors: one that closes itself, and how many this process may have.
#ifndef RETNET_SERVER_OPS_FILE_DESCRIPTOR_H_
#define RETNET_SERVER_OPS_FILE_DESCRIPTOR_H_

#include <unistd.h>

#include <utility>

#include "absl/status/status.h"

namespace retnet {

// Owns a descriptor. Thread-compatible.
class FileDescriptor {
 public:
  explicit FileDescriptor(int number = -1) : number_(number) {}
  FileDescriptor(FileDescriptor&& other) noexcept : number_(std::exchange(other.number_, -1)) {}
  FileDescriptor& operator=(FileDescriptor&& other) noexcept {
    std::swap(number_, other.number_);
    return *this;
  }
  ~FileDescriptor() { Close(); }

  bool valid() const { return number_ >= 0; }
  int get() const { return number_; }
  int Release() { return std::exchange(number_, -1); }
  void Close() {
    if (number_ >= 0) close(number_);
    number_ = -1;
  }

 private:
  int number_;
};

// The descriptors that a server needs to run and to serve some connections.
inline constexpr int kLeastDescriptors = 64;
// Every descriptor has a number below this one.
int DescriptorLimit();
// Raises the limit as far as this process may, that is, from the soft one to the hard one.
// FAILED_PRECONDITION if that is below kLeastDescriptors.
absl::Status RaiseDescriptorLimit();

}  // namespace retnet

#endif  // RETNET_SERVER_OPS_FILE_DESCRIPTOR_H_
