// The safetensors format: an 8-byte length, a JSON header with names, types, shapes and offsets,
// then the bytes of the tensors without gaps. Only the header is parsed. The bytes are not copied.
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
  std::string type;  // the name in the format: F32, BF16, …
  std::vector<int64_t> shape;
  std::span<const std::byte> bytes;  // a view into the file; any alignment
};

// Tensors by name.
using StoredTensors = std::map<std::string, StoredTensor, std::less<>>;

// Parses the bytes of a file. INVALID_ARGUMENT if it is truncated, if a byte belongs to no tensor
// or to two, or if the header is inconsistent. The error names `file` and the tensor. `file` is not
// opened.
absl::StatusOr<StoredTensors> ParseSafetensors(std::span<const std::byte> bytes,
                                               const std::string& file);

}  // namespace retnet

#endif  // RETNET_MODELS_SAFETENSORS_H_
