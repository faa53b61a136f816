// What a checkpoint's config.json says, with fla's defaults, the keys of ours and the sizes that
// follow.
#ifndef RETNET_MODELS_CONFIG_H_
#define RETNET_MODELS_CONFIG_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "kernels/kernels.h"

namespace retnet {

struct RetNetConfig {
  int32_t vocab_size = 32000;
  int32_t hidden_size = 2048;
  int32_t layers = 24;
  int32_t heads = 8;
  int32_t kv_heads = 8;   // divides heads
  int32_t key_dim = 256;  // of one head; even
  int32_t value_dim = 512;
  int32_t intermediate_size = 5632;
  Activation mlp_activation = Activation::kSilu;
  float norm_epsilon = 1e-6f;
  bool head_norm_weight = true;  // elementwise_affine
  bool gated = true;             // use_output_gate
  bool tied = false;             // the output projection is the embedding matrix
  float embedding_multiplier = 1.0f;
  std::vector<double> theta;  // [key_dim / 2], radians a token
  std::vector<float> decay;   // [heads]
  TokenId bos = kNoToken;
  std::vector<TokenId> eos;

  RetentionShape Retention(int32_t slots, ElementType base_type = ElementType::kFloat32) const;
  int64_t Parameters() const;
};

// INVALID_ARGUMENT for what cannot be run exactly, naming `file`, the key, its value and what is
// supported.
absl::StatusOr<RetNetConfig> ParseConfig(std::string_view text, const std::string& file);
// Reads DIR/config.json.
absl::StatusOr<RetNetConfig> ReadConfig(const std::string& directory);

}  // namespace retnet

#endif  // RETNET_MODELS_CONFIG_H_
