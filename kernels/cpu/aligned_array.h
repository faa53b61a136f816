// An array of numbers aligned to a cache line. Its memory is not initialised.
#ifndef RETNET_KERNELS_CPU_ALIGNED_ARRAY_H_
#define RETNET_KERNELS_CPU_ALIGNED_ARRAY_H_

#include <sys/mman.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <limits>
#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "kernels/ceil_divide.h"

namespace retnet::cpu {

inline constexpr int64_t kCacheLine = 64;  // bytes

// Owns its memory. Movable, not copyable. Arrays of 2 MiB or more request huge pages, because a
// pass over a large array with small pages spends its time on address translation.
template <typename T>
class AlignedArray {
 public:
  AlignedArray() = default;

  // `size` is in elements. RESOURCE_EXHAUSTED if the memory cannot be allocated.
  static absl::StatusOr<AlignedArray> Make(int64_t size) {
    constexpr int64_t kHugePage = int64_t{1} << 21;
    constexpr int64_t kMostElements =
        (std::numeric_limits<int64_t>::max() - kHugePage) / int64_t{sizeof(T)};
    void* memory = nullptr;
    if (size >= 0 && size <= kMostElements) {
      const int64_t bytes = size * int64_t{sizeof(T)};
      const int64_t alignment = bytes >= kHugePage ? kHugePage : kCacheLine;
      const int64_t rounded = RoundUp(bytes, alignment);
      memory = std::aligned_alloc(alignment, rounded > 0 ? rounded : alignment);
      // Only advice, so the result is ignored: without huge pages the memory is merely slower.
      if (memory != nullptr && alignment == kHugePage) madvise(memory, rounded, MADV_HUGEPAGE);
    }
    if (memory == nullptr) {
      return absl::ResourceExhaustedError(
          absl::StrCat("cannot allocate ", size, " numbers of ", sizeof(T), " bytes"));
    }
    AlignedArray array;
    array.data_.reset(static_cast<T*>(memory));
    array.size_ = size;
    return array;
  }

  T* data() const { return data_.get(); }
  int64_t size() const { return size_; }

 private:
  struct Free {
    void operator()(T* memory) const { std::free(memory); }
  };

  std::unique_ptr<T, Free> data_;
  int64_t size_ = 0;
};

}  // namespace retnet::cpu

#endif  // RETNET_KERNELS_CPU_ALIGNED_ARRAY_H_
