#include "models/config.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "kernels/status_macros.h"
#include "models/json_reader.h"

namespace retnet {
namespace {

// Limits far above any real model. With them, products of sizes fit in int64 and sides of matrices
// in int32.
constexpr int64_t kMaxVocabulary = 1 << 24;
constexpr int64_t kMaxWidth = 1 << 20;
constexpr int64_t kMaxLayers = 4096;
constexpr int64_t kMaxHeads = 4096;
constexpr double kMaxExpansion = 64;
constexpr double kMaxTheta = 1e3;  // radians per token

// Refuses the key unless it is absent, null or false. Such a key enables a variant of the model
// that is not implemented.
void RefuseUnlessOff(const char* key, JsonReader& reader, const nlohmann::json& object) {
  if (reader.Has(key) && object[key] != false) reader.Refuse(key, "null or false");
}

// The width of one head if int(hidden_size · expansion) channels are divided among the heads.
int64_t HeadWidth(const char* key, double fallback, const RetNetConfig& config,
                  JsonReader& reader) {
  const double expansion = reader.Number(key, fallback, 0.0, kMaxExpansion);
  const auto width = static_cast<int64_t>(config.hidden_size * expansion);
  if (width < 1 || width > kMaxWidth || width % config.heads != 0) {
    reader.Refuse(key, absl::StrCat("a number for which int(hidden_size * ", key, ") = ", width,
                                    " is a multiple of num_heads = ", config.heads, " from 1 to ",
                                    kMaxWidth));
  }
  return width / config.heads;
}

int64_t IntermediateSize(int64_t hidden_size, JsonReader& reader) {
  if (reader.Has("intermediate_size")) {
    return reader.Integer("intermediate_size", 1, 1, kMaxWidth);
  }
  // null and absent differ: for null, the feed-forward part of fla uses the ratio 4.
  const double fallback = reader.Contains("hidden_ratio") ? 4.0 : 2.0;
  const double ratio = reader.Number("hidden_ratio", fallback, 0.0, kMaxExpansion);
  const auto width = static_cast<int64_t>(hidden_size * ratio * 2 / 3);
  if (width < 1 || width > kMaxWidth - 255) {
    reader.Refuse("hidden_ratio", absl::StrCat("a ratio that gives a width from 1 to ", kMaxWidth));
  }
  return (width + 255) / 256 * 256;
}

Activation ReadActivation(const char* key, const std::string& fallback, bool gelu_too,
                          JsonReader& reader) {
  const std::string name = reader.String(key, fallback);
  if (gelu_too && name == "gelu") return Activation::kGelu;
  if (name != "swish" && name != "silu") {
    reader.Refuse(key, gelu_too ? "swish, silu or gelu" : "swish or silu");
  }
  return Activation::kSilu;
}

// θ_i = base^(−2i/d_k), or base^(−i/(d_k/2−1)) with `endpoint`. d_k is 2 · pairs.
std::vector<double> ThetaOf(double base, bool endpoint, int32_t pairs) {
  std::vector<double> theta(pairs);
  for (int32_t i = 0; i < pairs; ++i) {
    theta[i] = std::pow(base, -static_cast<double>(i) / (endpoint ? pairs - 1 : pairs));
  }
  return theta;
}

// The formula's, unless the file has `rotary_theta`.
std::vector<double> Theta(int32_t key_dim, JsonReader& reader) {
  const double base = reader.Number("rotary_base", 10000.0, 1e-9, 1e18);
  const bool endpoint = reader.Bool("rotary_endpoint", false);
  const int32_t pairs = key_dim / 2;
  if (auto given = reader.Numbers("rotary_theta", 0.0, kMaxTheta)) {
    if (static_cast<int32_t>(given->size()) == pairs) return *std::move(given);
    reader.Refuse("rotary_theta",
                  absl::StrCat(pairs, " numbers from 0 to ", kMaxTheta, ", one for each pair"));
    return std::vector<double>(pairs);
  }
  if (endpoint && pairs < 2) {
    reader.Refuse("rotary_endpoint", "false where a head has fewer than two rotated pairs");
    return std::vector<double>(pairs);
  }
  return ThetaOf(base, endpoint, pairs);
}

// γ_h = 1 − 2^(−5−h), unless the file has `decay`.
std::vector<float> Decay(int32_t heads, JsonReader& reader) {
  std::vector<float> decay(heads);
  const auto given = reader.Numbers("decay", 0.0, 1.0);
  if (!given.has_value()) {
    for (int32_t h = 0; h < heads; ++h) decay[h] = static_cast<float>(1.0 - std::exp2(-5.0 - h));
    return decay;
  }
  const auto outside = [](double gamma) { return gamma <= 0.0 || gamma >= 1.0; };
  if (given->size() != decay.size() || std::any_of(given->begin(), given->end(), outside)) {
    reader.Refuse("decay", absl::StrCat("num_heads = ", heads, " numbers between 0 and 1"));
    return decay;
  }
  std::copy(given->begin(), given->end(), decay.begin());
  return decay;
}

void ReadShape(RetNetConfig& config, JsonReader& reader) {
  config.vocab_size = reader.Integer("vocab_size", config.vocab_size, 1, kMaxVocabulary);
  config.hidden_size = reader.Integer("hidden_size", config.hidden_size, 1, kMaxWidth);
  config.layers = reader.Integer("num_hidden_layers", config.layers, 1, kMaxLayers);
  config.heads = reader.Integer("num_heads", config.heads, 1, kMaxHeads);
  config.kv_heads = reader.Integer("num_kv_heads", config.heads, 1, kMaxHeads);
  if (config.heads % config.kv_heads != 0) {
    reader.Refuse("num_kv_heads", absl::StrCat("a divisor of num_heads = ", config.heads));
  }
  config.key_dim = HeadWidth("expand_k", 1.0, config, reader);
  config.value_dim = HeadWidth("expand_v", 2.0, config, reader);
  if (config.key_dim % 2 != 0) {
    reader.Refuse("expand_k", absl::StrCat("an even key width of a head, for the rotation, not ",
                                           config.key_dim));
  }
  config.intermediate_size = IntermediateSize(config.hidden_size, reader);
}

void ReadVariants(RetNetConfig& config, JsonReader& reader) {
  config.mlp_activation = ReadActivation("hidden_act", "swish", /*gelu_too=*/false, reader);
  config.mlp_activation = ReadActivation("mlp_hidden_act", "swish", /*gelu_too=*/true, reader);
  config.norm_epsilon = reader.Number("norm_eps", 1e-6, 1e-30, 1.0);
  config.head_norm_weight = reader.Bool("elementwise_affine", true);
  config.gated = reader.Bool("use_output_gate", true);
  config.tied = reader.Bool("tie_word_embeddings", false);
  config.embedding_multiplier = reader.Number("embedding_multiplier", 1.0, -1e9, 1e9);
  config.normalized = reader.Bool("normalized_retention", false);
  config.theta = Theta(config.key_dim, reader);
  config.decay = Decay(config.heads, reader);
}

// The sizes and defaults of syncdoth/RetNet's configuration_retnet.py of January 2024.
void ReadSyncdothShape(RetNetConfig& config, JsonReader& reader) {
  config.vocab_size = reader.Integer("vocab_size", 50257, 1, kMaxVocabulary);
  config.hidden_size = reader.Integer("decoder_embed_dim", 768, 1, kMaxWidth);
  config.layers = reader.Integer("decoder_layers", 12, 1, kMaxLayers);
  config.heads = reader.Integer("decoder_retention_heads", 3, 1, kMaxHeads);
  config.kv_heads = config.heads;
  config.intermediate_size = reader.Integer("decoder_ffn_embed_dim", 1280, 1, kMaxWidth);
  const int32_t values = reader.Integer("decoder_value_embed_dim", 1280, 1, kMaxWidth);
  if (config.hidden_size % (2 * config.heads) != 0) {
    reader.Refuse("decoder_embed_dim",
                  absl::StrCat("a multiple of twice decoder_retention_heads = ", config.heads));
  }
  if (values % config.heads != 0) {
    reader.Refuse("decoder_value_embed_dim",
                  absl::StrCat("a multiple of decoder_retention_heads = ", config.heads));
  }
  config.key_dim = config.hidden_size / config.heads;
  config.value_dim = values / config.heads;
  if (config.key_dim < 4) {
    reader.Refuse("decoder_embed_dim", "at least 4 for each head, which are two rotated pairs");
  }
}

// γ_h of torchscale's use_lm_decay: 1 − exp(linspace(ln 1/32, ln 1/512, heads)).
std::vector<float> LmDecay(int32_t heads) {
  std::vector<float> decay(heads);
  for (int32_t h = 0; h < heads; ++h) {
    const double share = heads == 1 ? 0.0 : static_cast<double>(h) / (heads - 1);
    decay[h] = static_cast<float>(1.0 - std::exp2(-5.0 - 4.0 * share));
  }
  return decay;
}

void ReadSyncdothVariants(RetNetConfig& config, JsonReader& reader, const nlohmann::json& object) {
  for (const char* key : {"deepnorm", "use_ffn_rms_norm", "parallel_residual", "groupnorm_affine",
                          "lm_head_bias", "hybrid_attention_layers"}) {
    RefuseUnlessOff(key, reader, object);
  }
  for (const char* key : {"use_glu", "decoder_normalize_before"}) {
    if (!reader.Bool(key, true)) reader.Refuse(key, "true");
  }
  if (reader.Number("rotary_percentage", 1.0, 0.0, 1.0) != 1.0) {
    reader.Refuse("rotary_percentage", "1");
  }
  config.mlp_activation = ReadActivation("activation_fn", "swish", /*gelu_too=*/true, reader);
  config.norm_epsilon = reader.Number("layernorm_eps", 1e-6, 1e-30, 1.0);
  config.head_norm_weight = false;
  config.normalized = true;
  config.tied = reader.Bool("tie_word_embeddings", false);
  config.embeddings_norm = reader.Bool("layernorm_embedding", true);
  if (!reader.Bool("no_scale_embedding", false)) {
    config.embedding_multiplier = static_cast<float>(std::sqrt(config.hidden_size));
  }
  config.theta = ThetaOf(10000.0, /*endpoint=*/true, config.key_dim / 2);
  config.decay =
      reader.Bool("use_lm_decay", false) ? LmDecay(config.heads) : Decay(config.heads, reader);
}

// syncdoth/RetNet has no defaults of its own. Those of fla apply only if they are inside the
// vocabulary.
void ReadSpecialTokens(RetNetConfig& config, bool syncdoth, JsonReader& reader) {
  const int64_t last = config.vocab_size - 1;
  if (!reader.Contains("bos_token_id")) {
    if (!syncdoth && last >= 1) config.bos = 1;
  } else {
    config.bos = reader.Integer("bos_token_id", kNoToken, 0, last);
  }
  if (!reader.Contains("eos_token_id")) {
    if (!syncdoth && last >= 2) config.eos = {2};
  } else if (const auto eos = reader.Integers("eos_token_id", 0, last)) {
    config.eos.assign(eos->begin(), eos->end());
  }
}

}  // namespace

RetentionShape RetNetConfig::Retention(int32_t slots, ElementType base_type) const {
  return {.layers = layers,
          .heads = heads,
          .kv_heads = kv_heads,
          .key_dim = key_dim,
          .value_dim = value_dim,
          .gated = gated,
          .slots = slots,
          .base_type = base_type};
}

int64_t RetNetConfig::Parameters() const {
  const RetentionShape shape = Retention(/*slots=*/0);
  const int64_t hidden = hidden_size;
  const int64_t retention = hidden * (shape.ProjectionColumns() + shape.OutputColumns()) + hidden +
                            (head_norm_weight ? value_dim : 0);
  const int64_t feed_forward = hidden * 3 * intermediate_size + hidden;
  return layers * (retention + feed_forward) + hidden * vocab_size * (tied ? 1 : 2) + hidden;
}

absl::StatusOr<RetNetConfig> ParseConfig(std::string_view text, const std::string& file) {
  ASSIGN_OR_RETURN(const nlohmann::json object, ParseJsonObject(text, file));
  JsonReader reader(object, file);
  RetNetConfig config;
  if (reader.String("model_type", "retnet") != "retnet") reader.Refuse("model_type", "retnet");
  // model_type is "retnet" in both layouts.
  const bool syncdoth = reader.Has("decoder_embed_dim");
  if (syncdoth) {
    config.layout = &kSyncdothLayout;
    ReadSyncdothShape(config, reader);
  } else {
    for (const char* key : {"feature_map", "use_short_conv", "attn", "attnres_block_size"}) {
      RefuseUnlessOff(key, reader, object);
    }
    ReadShape(config, reader);
  }
  // The rest is derived from the shape, which must be sound first.
  RETURN_IF_ERROR(reader.status());
  syncdoth ? ReadSyncdothVariants(config, reader, object) : ReadVariants(config, reader);
  ReadSpecialTokens(config, syncdoth, reader);
  RETURN_IF_ERROR(reader.status());
  return config;
}

absl::StatusOr<RetNetConfig> ReadConfig(const std::string& directory) {
  const std::string path = directory + "/config.json";
  const absl::StatusOr<std::string> text = ReadFile(path);
  if (!text.ok()) return absl::InvalidArgumentError(text.status().message());
  return ParseConfig(*text, path);
}

}  // namespace retnet
