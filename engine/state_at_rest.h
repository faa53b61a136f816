// A state's numbers as they are stored: as they are, or rounded to take less room.
#ifndef RETNET_ENGINE_STATE_AT_REST_H_
#define RETNET_ENGINE_STATE_AT_REST_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/snapshot.h"

namespace retnet {

// Neighbours that share a scale under AtRest::kInt8; a divisor of every usual value_dim.
inline constexpr int64_t kInt8Block = 32;

// Bytes of `floats` fp32 numbers at rest.
int64_t FloatsAtRest(int64_t floats, AtRest at_rest);

// Appends the first `floats` fp32 numbers of a state at rest, then its other bytes as they are.
void AppendAtRest(std::span<const std::byte> state, int64_t floats, AtRest at_rest,
                  std::string* bytes);
// The reverse: `state` has the size that was appended, and `bytes` that which came of it.
void RestoreFromRest(std::string_view bytes, int64_t floats, AtRest at_rest,
                     std::span<std::byte> state);

}  // namespace retnet

#endif  // RETNET_ENGINE_STATE_AT_REST_H_
