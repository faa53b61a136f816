#include "kernels/finite.h"

#include <algorithm>
#include <cstring>

namespace retnet {
namespace {

// A number is not finite if all bits of its exponent are set. Then adding 1 to the exponent, with
// the sign cleared, carries into the sign; else it does not. So one addition tests all numbers of a
// word, since nothing carries from one into the next.
struct Pattern {
  uint64_t exponents = 0;
  uint64_t ones = 0;
  uint64_t signs = 0;
};

Pattern PatternOf(ElementType type) {
  switch (type) {
    case ElementType::kFloat32:
      return {0x7F8000007F800000, 0x0080000000800000, 0x8000000080000000};
    case ElementType::kFloat16:
      return {0x7C007C007C007C00, 0x0400040004000400, 0x8000800080008000};
    case ElementType::kBFloat16:
      return {0x7F807F807F807F80, 0x0080008000800080, 0x8000800080008000};
  }
  return {};
}

uint64_t Carries(uint64_t word, const Pattern& pattern) {
  return (word & pattern.exponents) + pattern.ones;
}

uint64_t WordAt(const std::byte* data, size_t bytes = sizeof(uint64_t)) {
  uint64_t word = 0;
  std::memcpy(&word, data, bytes);
  return word;
}

// Four words at a time, each of which a vector unit can take.
bool AllFinite(std::span<const std::byte> data, const Pattern& pattern) {
  constexpr size_t kWords = 4;
  uint64_t carries[kWords] = {};
  size_t i = 0;
  for (; i + sizeof(carries) <= data.size(); i += sizeof(carries)) {
    for (size_t word = 0; word < kWords; ++word) {
      carries[word] |= Carries(WordAt(data.data() + i + word * sizeof(uint64_t)), pattern);
    }
  }
  while (i < data.size()) {
    const size_t bytes = std::min(data.size() - i, sizeof(uint64_t));
    carries[0] |= Carries(WordAt(data.data() + i, bytes), pattern);
    i += bytes;
  }
  return ((carries[0] | carries[1] | carries[2] | carries[3]) & pattern.signs) == 0;
}

}  // namespace

std::optional<int64_t> FindNotFinite(std::span<const std::byte> data, ElementType type) {
  constexpr size_t kBlock = 4096;
  const Pattern pattern = PatternOf(type);
  const size_t element = SizeOf(type);
  for (size_t block = 0; block < data.size(); block += kBlock) {
    const size_t end = std::min(block + kBlock, data.size());
    if (AllFinite(data.subspan(block, end - block), pattern)) continue;
    for (size_t i = block; i < end; i += element) {
      if (AllFinite(data.subspan(i, element), pattern)) continue;
      return static_cast<int64_t>(i / element);
    }
  }
  return std::nullopt;
}

}  // namespace retnet
