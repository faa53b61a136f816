// The safetensors format: an 8-byte length, a JSON header of names, types, shapes and offsets, then
// the tensors' bytes without gaps. Only the header is parsed; the bytes stay where they are.
#ifndef RETNET_MODELS_SAFETENSORS_H_
#define RETNET_MODELS_SAFETENSORS_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace retnet {

struct StoredTensor {
  std::string type;  // as the format names it: F32, BF16, …
  std::vector<int64_t> shape;
  std::span<const std::byte> bytes;  // within the file's; any alignment
};

// By name.
using StoredTensors = std::map<std::string, StoredTensor, std::less<>>;

// INVALID_ARGUMENT naming `file` and the tensor for a file that is truncated, has bytes that no
// tensor owns or two own, or whose header does not agree with itself. `file` is only named, never
// opened.
absl::StatusOr<StoredTensors> ParseSafetensors(std::span<const std::byte> bytes,
                                               const std::string& file);

}  // namespace retnet

#endif  // RETNET_MODELS_SAFETENSORS_H_
