#include "models/layout.h"

#include <cstdint>

#include "absl/strings/str_cat.h"

namespace retnet {
namespace {

// A layout that is not served: a part of its tensors' names, and the rest of the sentence.
struct RefusedLayout {
  const char* part;
  const char* reason;
};

// The first that matches counts.
constexpr RefusedLayout kRefused[] = {
    {".msr.",
     "syncdoth/RetNet from before October 2023, whose rotation has a decay for each key channel "
     "(xPos) and whose LayerNorms have biases; neither is supported"},
    {".linear1.",
     "yet-another-retnet, whose biases and LayerNorms, also without a final norm, are not "
     "supported"},
    {".W_Q", "Jamie-Stirling/RetNet, whose group norm with biases is not supported"},
    {".gt_proj", "YOCO, whose gated retention has a decay of each token, which is not supported"},
    {".experts.", "a mixture of experts, which is not supported"},
    {"decoder.layers.", "torchscale, whose file models/convert.py converts first"},
    {"_conv1d.", "fla with short convolutions (use_short_conv), which are not supported"},
    {".ffn_layernorm.",
     "torchscale or syncdoth/RetNet with a norm inside the feed-forward part (subln, "
     "use_ffn_rms_norm), which is not supported"},
    {".group_norm.",
     "syncdoth/RetNet with weights in the group norm (groupnorm_affine), which is not supported"},
};

}  // namespace

const Layout kFlaLayout = {
    .name = "fla",
    .embeddings = "model.embeddings.weight",
    .embeddings_norm = "model.embeddings_norm.weight",
    .norm = "model.norm.weight",
    .head = "lm_head.weight",
    .retention_norm = "attn_norm.weight",
    .query = "attn.q_proj.weight",
    .key = "attn.k_proj.weight",
    .value = "attn.v_proj.weight",
    .gate = "attn.g_proj.weight",
    // The name depends on whether norm and gate were one module in training.
    .head_norm = {"attn.g_norm_swish_gate.weight", "attn.g_norm.weight"},
    .output = "attn.o_proj.weight",
    .mlp_norm = "mlp_norm.weight",
    .mlp_gate = "mlp.gate_proj.weight",
    .mlp_up = "mlp.up_proj.weight",
    .down = "mlp.down_proj.weight",
};

const Layout kSyncdothLayout = {
    .name = "syncdoth/RetNet",
    .embeddings = "model.embed_tokens.weight",
    .embeddings_norm = "model.layernorm_embedding.weight",
    .norm = "model.layer_norm.weight",
    .head = "lm_head.weight",
    .retention_norm = "retention_layer_norm.weight",
    .query = "retention.q_proj.weight",
    .key = "retention.k_proj.weight",
    .value = "retention.v_proj.weight",
    .gate = "retention.g_proj.weight",
    .head_norm = {},
    .output = "retention.out_proj.weight",
    .mlp_norm = "final_layer_norm.weight",
    .mlp_gate = "ffn.fc1.weight",
    .mlp_up = "ffn.gate.weight",
    .down = "ffn.fc2.weight",
    .rotates_neighbours = true,
    .angles = "model.retnet_rel_pos.angle",
    .log_decays = "model.retnet_rel_pos.decay",
};

std::string LayerPrefix(int32_t layer) { return absl::StrCat("model.layers.", layer, "."); }

absl::Status CheckLayout(const Checkpoint& checkpoint) {
  const auto refuse = [&](const Checkpoint::Tensor& tensor, const std::string& reason) {
    return absl::InvalidArgumentError(absl::StrCat(tensor.file, ": the layout is ", reason));
  };
  for (const RefusedLayout& refused : kRefused) {
    for (const auto& [name, tensor] : checkpoint.tensors()) {
      if (name.find(refused.part) != std::string::npos) return refuse(tensor, refused.reason);
    }
  }
  const bool syncdoth = checkpoint.Find(kSyncdothLayout.embeddings) != nullptr;
  for (const auto& [name, tensor] : checkpoint.tensors()) {
    if (!name.ends_with(".bias")) continue;
    if (syncdoth) {
      return refuse(tensor,
                    "XATL (as NucleusAI/RetNet-410m-XATL), or syncdoth/RetNet of July 2023: their "
                    "biases and LayerNorms, and XATL's parallel residual, are not supported");
    }
    return refuse(tensor, absl::StrCat("one with biases (tensor ", name,
                                       "), which RetNet as "
                                       "served here does not have"));
  }
  return absl::OkStatus();
}

}  // namespace retnet
