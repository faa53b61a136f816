// Bytes of states in host memory.
#ifndef RETNET_ENGINE_STATES_BYTE_VECTOR_H_
#define RETNET_ENGINE_STATES_BYTE_VECTOR_H_

#include <sys/mman.h>

#include <cstddef>
#include <cstdlib>
#include <new>
#include <utility>
#include <vector>

#include "kernels/ceil_divide.h"

namespace retnet {

// Does not zero elements, and asks for huge pages for large vectors. Zeroing a state and returning
// small pages would take the engine thread longer than the transfer takes the thread that fills it.
template <typename T>
struct StateAllocator {
  using value_type = T;

  StateAllocator() = default;
  template <typename U>
  StateAllocator(const StateAllocator<U>&) {}  // NOLINT: implicit, as allocators convert

  T* allocate(size_t count) {
    constexpr size_t kHugePage = size_t{1} << 21;
    const size_t bytes = count * sizeof(T);
    void* memory = nullptr;
    if (bytes < kHugePage) {
      memory = std::malloc(bytes);
    } else if (const size_t rounded = RoundUp(bytes, kHugePage);
               (memory = std::aligned_alloc(kHugePage, rounded)) != nullptr) {
      madvise(memory, rounded, MADV_HUGEPAGE);  // only advice: else it is as good, but slower
    }
    if (memory == nullptr) throw std::bad_alloc();
    return static_cast<T*>(memory);
  }
  void deallocate(T* memory, size_t) { std::free(memory); }

  template <typename U>
  void construct(U* element) {
    ::new (static_cast<void*>(element)) U;
  }
  template <typename U, typename... Arguments>
  void construct(U* element, Arguments&&... arguments) {
    ::new (static_cast<void*>(element)) U(std::forward<Arguments>(arguments)...);
  }

  bool operator==(const StateAllocator&) const { return true; }
};

using ByteVector = std::vector<std::byte, StateAllocator<std::byte>>;

}  // namespace retnet

#endif  // RETNET_ENGINE_STATES_BYTE_VECTOR_H_
