// Encodes the numbers of a state for a snapshot: exactly, or rounded to save space.
#ifndef RETNET_ENGINE_SNAPSHOTS_STATE_CODEC_H_
#define RETNET_ENGINE_SNAPSHOTS_STATE_CODEC_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace retnet {

// How the numbers of a state are stored. kBf16 and kInt8 are NOT exact: they round the fp32 numbers
// of a state to bf16, or to 8 bits with one scale for 32 neighbours. A restored session may then
// continue differently. Numbers that have 16 bits on the device (CUDA's tails, and bases with
// --state-type) are stored unchanged.
enum class StateEncoding : uint8_t { kExact = 0, kBf16 = 1, kInt8 = 2 };

// The number of neighbours that share a scale with StateEncoding::kInt8. It divides every usual
// value_dim.
inline constexpr int64_t kInt8Block = 32;

// The size in bytes of `floats` encoded fp32 numbers.
int64_t EncodedFloatBytes(int64_t floats, StateEncoding encoding);

// Appends the first `floats` fp32 numbers of a state encoded, then its other bytes unchanged.
void AppendEncodedState(std::span<const std::byte> state, int64_t floats, StateEncoding encoding,
                        std::string* bytes);
// The reverse of AppendEncodedState. `state` has the size of the original state, `bytes` that of
// the encoded one.
void DecodeState(std::string_view bytes, int64_t floats, StateEncoding encoding,
                 std::span<std::byte> state);

}  // namespace retnet

#endif  // RETNET_ENGINE_SNAPSHOTS_STATE_CODEC_H_
