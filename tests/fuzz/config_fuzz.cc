// Any text as a config.json: an error or a shape whose sizes are sound.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "models/config.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto config =
      retnet::ParseConfig(std::string_view(reinterpret_cast<const char*>(data), size), "fuzzed");
  if (!config.ok()) return 0;
  const auto shape = config->Retention(/*slots=*/1);
  const bool sound = config->Parameters() > 0 && shape.ProjectionColumns() > 0 &&
                     shape.key_dim % 2 == 0 && shape.heads % shape.kv_heads == 0 &&
                     config->theta.size() * 2 == static_cast<size_t>(shape.key_dim) &&
                     config->decay.size() == static_cast<size_t>(shape.heads);
  if (!sound) std::abort();
  return 0;
}
