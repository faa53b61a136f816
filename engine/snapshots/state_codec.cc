#include "engine/snapshots/state_codec.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "kernels/ceil_divide.h"
#include "kernels/element.h"

namespace retnet {
namespace {

float FloatAt(const std::byte* floats, int64_t index) {
  float value;
  std::memcpy(&value, floats + index * sizeof(float), sizeof(value));
  return value;
}

void SetFloat(float value, int64_t index, std::byte* floats) {
  std::memcpy(floats + index * sizeof(float), &value, sizeof(value));
}

void RoundToBFloat16(const std::byte* floats, int64_t count, char* bytes) {
  for (int64_t i = 0; i < count; ++i) {
    const uint16_t rounded = ToBFloat16(FloatAt(floats, i));
    std::memcpy(bytes + i * sizeof(rounded), &rounded, sizeof(rounded));
  }
}

void WidenBFloat16(const char* bytes, int64_t count, std::byte* floats) {
  for (int64_t i = 0; i < count; ++i) {
    uint16_t rounded;
    std::memcpy(&rounded, bytes + i * sizeof(rounded), sizeof(rounded));
    SetFloat(FromBFloat16(rounded), i, floats);
  }
}

// A block at rest: an fp32 scale, then one byte a number. Number = scale · byte.
constexpr int64_t kScaleBytes = sizeof(float);

void RoundToInt8(const std::byte* floats, int64_t count, char* bytes) {
  for (int64_t first = 0; first < count; first += kInt8Block) {
    const int64_t block = std::min(kInt8Block, count - first);
    float greatest = 0;
    for (int64_t i = 0; i < block; ++i) {
      greatest = std::max(greatest, std::fabs(FloatAt(floats, first + i)));
    }
    const float scale = greatest / 127;
    const float inverse = greatest > 0 ? 127 / greatest : 0;
    std::memcpy(bytes, &scale, kScaleBytes);
    for (int64_t i = 0; i < block; ++i) {
      const float scaled = FloatAt(floats, first + i) * inverse;
      // Written so that a NaN, which fits no integer, becomes one of the ends.
      const float within = scaled > -127 ? std::min(scaled, 127.0f) : -127.0f;
      bytes[kScaleBytes + i] = static_cast<char>(std::lrintf(within));
    }
    bytes += kScaleBytes + block;
  }
}

void WidenInt8(const char* bytes, int64_t count, std::byte* floats) {
  for (int64_t first = 0; first < count; first += kInt8Block) {
    const int64_t block = std::min(kInt8Block, count - first);
    float scale;
    std::memcpy(&scale, bytes, kScaleBytes);
    for (int64_t i = 0; i < block; ++i) {
      SetFloat(scale * static_cast<int8_t>(bytes[kScaleBytes + i]), first + i, floats);
    }
    bytes += kScaleBytes + block;
  }
}

}  // namespace

int64_t EncodedFloatBytes(int64_t floats, StateEncoding encoding) {
  switch (encoding) {
    case StateEncoding::kBf16:
      return floats * 2;
    case StateEncoding::kInt8:
      return floats + CeilDivide(floats, kInt8Block) * kScaleBytes;
    case StateEncoding::kExact:
      break;
  }
  return floats * int64_t{sizeof(float)};
}

void AppendEncodedState(std::span<const std::byte> state, int64_t floats, StateEncoding encoding,
                        std::string* bytes) {
  const auto other = state.subspan(floats * sizeof(float));
  const size_t first = bytes->size();
  if (encoding != StateEncoding::kExact) {
    bytes->resize(first + EncodedFloatBytes(floats, encoding));
    char* const out = bytes->data() + first;
    if (encoding == StateEncoding::kBf16) {
      RoundToBFloat16(state.data(), floats, out);
    } else {
      RoundToInt8(state.data(), floats, out);
    }
  }
  const auto verbatim = encoding == StateEncoding::kExact ? state : other;
  bytes->append(reinterpret_cast<const char*>(verbatim.data()), verbatim.size());
}

void DecodeState(std::string_view bytes, int64_t floats, StateEncoding encoding,
                 std::span<std::byte> state) {
  if (encoding == StateEncoding::kBf16) {
    WidenBFloat16(bytes.data(), floats, state.data());
  } else if (encoding == StateEncoding::kInt8) {
    WidenInt8(bytes.data(), floats, state.data());
  }
  const size_t rounded = encoding == StateEncoding::kExact ? 0 : floats;
  const auto verbatim = state.subspan(rounded * sizeof(float));
  if (verbatim.empty()) return;
  bytes.remove_prefix(encoding == StateEncoding::kExact ? 0 : EncodedFloatBytes(floats, encoding));
  std::memcpy(verbatim.data(), bytes.data(), verbatim.size());
}

}  // namespace retnet
