// A state's numbers as they are stored: as they are, or rounded to take less room.
#ifndef RETNET_ENGINE_SNAPSHOTS_STATE_CODEC_H_
#define RETNET_ENGINE_SNAPSHOTS_STATE_CODEC_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace retnet {

// How the numbers of a state are stored. kBf16 and kInt8 are NOT exact: what fp32 numbers a state
// has are rounded to bf16, or to 8 bits under one scale for 32 neighbours, so that a restored
// session may continue differently. Numbers of 16 bits on the device (CUDA's tails, and its bases
// by --state-type) stay as they are.
enum class StateEncoding : uint8_t { kExact = 0, kBf16 = 1, kInt8 = 2 };

// Neighbours that share a scale under StateEncoding::kInt8; a divisor of every usual value_dim.
inline constexpr int64_t kInt8Block = 32;

// Bytes of `floats` fp32 numbers at rest.
int64_t EncodedFloatBytes(int64_t floats, StateEncoding encoding);

// Appends the first `floats` fp32 numbers of a state at rest, then its other bytes as they are.
void AppendEncodedState(std::span<const std::byte> state, int64_t floats, StateEncoding encoding,
                        std::string* bytes);
// The reverse: `state` has the size that was appended, and `bytes` that which came of it.
void DecodeState(std::string_view bytes, int64_t floats, StateEncoding encoding,
                 std::span<std::byte> state);

}  // namespace retnet

#endif  // RETNET_ENGINE_SNAPSHOTS_STATE_CODEC_H_
