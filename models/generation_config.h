// What a checkpoint's generation_config.json asks for: defaults of sampling, each optional.
#ifndef RETNET_MODELS_GENERATION_CONFIG_H_
#define RETNET_MODELS_GENERATION_CONFIG_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "kernels/tensor.h"

namespace retnet {

struct GenerationConfig {
  std::optional<float> temperature;  // 0 where do_sample is false: greedy
  std::optional<int32_t> top_k;
  std::optional<float> top_p;
  std::optional<float> min_p;
  std::optional<float> repetition_penalty;
  std::optional<int32_t> max_new_tokens;
  std::optional<TokenId> bos;
  std::optional<std::vector<TokenId>> eos;
};

// Reads DIR/generation_config.json; everything unset where there is none. INVALID_ARGUMENT for a
// value that means nothing, naming file, key and value.
absl::StatusOr<GenerationConfig> ReadGenerationConfig(const std::string& directory);

}  // namespace retnet

#endif  // RETNET_MODELS_GENERATION_CONFIG_H_
