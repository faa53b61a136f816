// Any bytes as a safetensors file: an error or tensors that lie inside them.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>

#include "models/safetensors.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto bytes = std::as_bytes(std::span(data, size));
  const auto tensors = retnet::ParseSafetensors(bytes, "fuzzed");
  if (!tensors.ok()) return 0;
  size_t owned = 0;
  for (const auto& [name, tensor] : *tensors) {
    owned += tensor.bytes.size();
    if (tensor.bytes.data() < bytes.data() ||
        tensor.bytes.data() + tensor.bytes.size() > bytes.data() + bytes.size()) {
      std::abort();
    }
  }
  if (owned > size) std::abort();
  return 0;
}
