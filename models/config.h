// The config.json of a checkpoint: the keys of flash-linear-attention ("fla") with its defaults and
// this project's own keys, or the keys of syncdoth/RetNet. Derived sizes are included.
#ifndef RETNET_MODELS_CONFIG_H_
#define RETNET_MODELS_CONFIG_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "kernels/kernels.h"
#include "models/layout.h"

namespace retnet {

struct RetNetConfig {
  const Layout* layout = &kFlaLayout;
  int32_t vocab_size = 32000;
  int32_t hidden_size = 2048;
  int32_t layers = 24;
  int32_t heads = 8;
  int32_t kv_heads = 8;     // divides heads
  int32_t key_dim = 256;    // of one head; even
  int32_t value_dim = 512;  // of one head
  int32_t intermediate_size = 5632;
  Activation mlp_activation = Activation::kSilu;
  float norm_epsilon = 1e-6f;
  bool normalized = false;       // normalized_retention: o_n is divided by sqrt(Σ_{j≤n} γ^j)
  bool head_norm_weight = true;  // elementwise_affine
  bool gated = true;             // use_output_gate
  bool tied = false;             // the output projection is the embedding matrix
  float embedding_multiplier = 1.0f;
  bool embeddings_norm = false;  // it must be there; otherwise the checkpoint decides
  std::vector<double> theta;     // [key_dim / 2], radians per token
  std::vector<float> decay;      // [heads], γ
  TokenId bos = kNoToken;        // kNoToken: none
  std::vector<TokenId> eos;

  // The shape of retention with `slots` slots and bases of this type.
  RetentionShape Retention(int32_t slots, ElementType base_type = ElementType::kFloat32) const;
  // The number of parameters.
  int64_t Parameters() const;
};

// Parses the text of a config.json. INVALID_ARGUMENT for a model that cannot be run exactly. The
// error names `file`, the key, its value and the supported values.
absl::StatusOr<RetNetConfig> ParseConfig(std::string_view text, const std::string& file);
// Reads and parses config.json in `directory`.
absl::StatusOr<RetNetConfig> ReadConfig(const std::string& directory);

}  // namespace retnet

#endif  // RETNET_MODELS_CONFIG_H_
