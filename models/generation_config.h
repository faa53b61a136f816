// The generation_config.json of a checkpoint: defaults of sampling, each optional.
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
  std::optional<float> temperature;  // 0 (greedy) if do_sample is false
  std::optional<int32_t> top_k;
  std::optional<float> top_p;
  std::optional<float> min_p;
  std::optional<float> repetition_penalty;
  std::optional<int32_t> max_new_tokens;
  std::optional<TokenId> bos;
  std::optional<std::vector<TokenId>> eos;
  std::vector<std::string> ignored;  // why values of the file are not among these, for the log
};

// Reads generation_config.json in `directory`. If there is no such file, nothing is set.
// A value that means nothing is ignored: other programs ignore it, too. INVALID_ARGUMENT for a file
// that is not a JSON object.
absl::StatusOr<GenerationConfig> ReadGenerationConfig(const std::string& directory);

}  // namespace retnet

#endif  // RETNET_MODELS_GENERATION_CONFIG_H_
