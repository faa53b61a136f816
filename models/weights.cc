#include "models/weights.h"

#include <set>
#include <string>
#include <string_view>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "kernels/element.h"
#include "kernels/status_macros.h"

namespace retnet {
namespace {

std::optional<ElementType> ParseType(std::string_view type) {
  if (type == "F32") return ElementType::kFloat32;
  if (type == "F16") return ElementType::kFloat16;
  if (type == "BF16") return ElementType::kBFloat16;
  return std::nullopt;
}

// Looks up tensors of a checkpoint by name. Remembers which tensors were taken, and the first
// error.
class Finder {
 public:
  explicit Finder(const Checkpoint& checkpoint) : checkpoint_(checkpoint) {}

  HostTensor Matrix(const std::string& name, int64_t rows, int64_t columns) {
    return Take(name, {rows, columns}, rows, columns);
  }
  HostTensor Vector(const std::string& name, int64_t size) { return Take(name, {size}, 1, size); }
  bool Has(std::string_view name) const { return checkpoint_.Find(name) != nullptr; }

  // The first error. If there is none, an error for a tensor that was not taken.
  absl::Status Finish() {
    for (const auto& [name, tensor] : checkpoint_.tensors()) {
      if (!taken_.contains(name) && !absl::EndsWith(name, ".inv_freq")) {
        Fail(tensor.file, name, "the config has no part that it belongs to");
      }
    }
    return status_;
  }
  int64_t bytes() const { return bytes_; }
  void Ignore(const std::string& name) { taken_.insert(name); }

 private:
  HostTensor Take(const std::string& name, const std::vector<int64_t>& shape, int64_t rows,
                  int64_t columns) {
    const Checkpoint::Tensor* tensor = checkpoint_.Find(name);
    if (tensor == nullptr) {
      Fail(checkpoint_.listing(), name, "is missing");
      return {};
    }
    taken_.insert(name);
    const StoredTensor& stored = tensor->stored;
    const std::optional<ElementType> type = ParseType(stored.type);
    if (!type.has_value()) {
      Fail(tensor->file, name, absl::StrCat("dtype ", stored.type, "; supported: F32, F16, BF16"));
      return {};
    }
    if (stored.shape != shape) {
      Fail(tensor->file, name,
           absl::StrCat("shape [", absl::StrJoin(stored.shape, ", "), "], the config needs [",
                        absl::StrJoin(shape, ", "), "]"));
      return {};
    }
    bytes_ += stored.bytes.size();
    return {.type = *type, .data = stored.bytes.data(), .rows = rows, .columns = columns};
  }

  void Fail(const std::string& file, const std::string& tensor, const std::string& why) {
    status_.Update(absl::InvalidArgumentError(absl::StrCat(file, ": tensor ", tensor, ": ", why)));
  }

  const Checkpoint& checkpoint_;
  std::set<std::string> taken_;
  int64_t bytes_ = 0;
  absl::Status status_;
};

LayerWeights FindLayer(const std::string& prefix, const RetNetConfig& config, Finder& finder) {
  const int64_t hidden = config.hidden_size;
  const int64_t values = int64_t{config.heads} * config.value_dim;
  const std::string attention = prefix + "attn.";
  const std::string mlp = prefix + "mlp.";
  LayerWeights layer;
  layer.retention_norm = finder.Vector(prefix + "attn_norm.weight", hidden);
  layer.projections = {
      finder.Matrix(attention + "q_proj.weight", int64_t{config.heads} * config.key_dim, hidden),
      finder.Matrix(attention + "k_proj.weight", int64_t{config.kv_heads} * config.key_dim, hidden),
      finder.Matrix(attention + "v_proj.weight", int64_t{config.kv_heads} * config.value_dim,
                    hidden)};
  if (config.gated) {
    layer.projections.push_back(finder.Matrix(attention + "g_proj.weight", values, hidden));
  }
  if (config.head_norm_weight) {
    // The name depends on whether norm and gate were one module in training.
    const std::string fused = attention + "g_norm_swish_gate.weight";
    layer.head_norm =
        finder.Vector(finder.Has(fused) ? fused : attention + "g_norm.weight", config.value_dim);
  }
  layer.output = finder.Matrix(attention + "o_proj.weight", hidden, values);
  layer.mlp_norm = finder.Vector(prefix + "mlp_norm.weight", hidden);
  layer.gate_up = {finder.Matrix(mlp + "gate_proj.weight", config.intermediate_size, hidden),
                   finder.Matrix(mlp + "up_proj.weight", config.intermediate_size, hidden)};
  layer.down = finder.Matrix(mlp + "down_proj.weight", hidden, config.intermediate_size);
  return layer;
}

}  // namespace

absl::StatusOr<ModelWeights> FindWeights(const Checkpoint& checkpoint, const RetNetConfig& config) {
  Finder finder(checkpoint);
  const int64_t hidden = config.hidden_size;
  ModelWeights weights;
  weights.embeddings = finder.Matrix("model.embeddings.weight", config.vocab_size, hidden);
  const std::string embeddings_norm = "model.embeddings_norm.weight";
  if (finder.Has(embeddings_norm)) weights.embeddings_norm = finder.Vector(embeddings_norm, hidden);
  for (int32_t i = 0; i < config.layers; ++i) {
    weights.layers.push_back(FindLayer(absl::StrCat("model.layers.", i, "."), config, finder));
  }
  weights.norm = finder.Vector("model.norm.weight", hidden);
  const std::string head = "lm_head.weight";
  if (config.tied) {
    finder.Ignore(head);  // some files also store the embeddings under this name
  } else {
    weights.head = finder.Matrix(head, config.vocab_size, hidden);
  }
  RETURN_IF_ERROR(finder.Finish());
  weights.stored_bytes = finder.bytes();
  return weights;
}

std::vector<float> ToFloats(const HostTensor& tensor) {
  std::vector<float> floats(tensor.rows * tensor.columns);
  for (size_t i = 0; i < floats.size(); ++i) floats[i] = ElementAt(tensor, i);
  return floats;
}

}  // namespace retnet
