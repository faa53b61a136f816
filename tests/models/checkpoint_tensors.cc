#include "tests/models/checkpoint_tensors.h"

#include <string>

namespace retnet {

std::vector<TensorHeader> CheckpointTensors(const RetNetConfig& config, ElementType type,
                                            bool embeddings_norm) {
  std::vector<TensorHeader> tensors;
  const auto add = [&](const std::string& name, const std::vector<int64_t>& shape) {
    tensors.push_back({name + ".weight", type, shape});
  };
  const int64_t hidden = config.hidden_size;
  const int64_t values = config.Retention(/*slots=*/0).OutputColumns();
  add("model.embeddings", {config.vocab_size, hidden});
  if (embeddings_norm) add("model.embeddings_norm", {hidden});
  for (int32_t i = 0; i < config.layers; ++i) {
    const std::string layer = "model.layers." + std::to_string(i) + ".";
    add(layer + "attn_norm", {hidden});
    add(layer + "attn.q_proj", {int64_t{config.heads} * config.key_dim, hidden});
    add(layer + "attn.k_proj", {int64_t{config.kv_heads} * config.key_dim, hidden});
    add(layer + "attn.v_proj", {int64_t{config.kv_heads} * config.value_dim, hidden});
    if (config.gated) add(layer + "attn.g_proj", {values, hidden});
    if (config.head_norm_weight) add(layer + "attn.g_norm_swish_gate", {config.value_dim});
    add(layer + "attn.o_proj", {hidden, values});
    add(layer + "mlp_norm", {hidden});
    add(layer + "mlp.gate_proj", {config.intermediate_size, hidden});
    add(layer + "mlp.up_proj", {config.intermediate_size, hidden});
    add(layer + "mlp.down_proj", {hidden, config.intermediate_size});
  }
  add("model.norm", {hidden});
  if (!config.tied) add("lm_head", {config.vocab_size, hidden});
  return tensors;
}

}  // namespace retnet
