#include "models/weights.h"

#include <algorithm>
#include <functional>
#include <set>
#include <string>
#include <string_view>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
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
  HostTensor Vector(std::string_view name, int64_t size) {
    return Take(std::string(name), {size}, 1, size);
  }
  bool Has(std::string_view name) const { return checkpoint_.Find(name) != nullptr; }
  bool HasRows(std::string_view name, int64_t rows) const {
    const Checkpoint::Tensor* tensor = checkpoint_.Find(name);
    return tensor != nullptr && !tensor->stored.shape.empty() && tensor->stored.shape[0] == rows;
  }
  void Ignore(std::string_view name) { taken_.emplace(name); }

  // The first error. If there is none, an error for a tensor of a layer that was not taken: without
  // it the layer would compute something else. `unused` gets the names of the others.
  absl::Status Finish(int32_t layers, std::vector<std::string>* unused) {
    for (const auto& [name, tensor] : checkpoint_.tensors()) {
      if (taken_.contains(name) || absl::EndsWith(name, ".inv_freq")) continue;
      if (IsOfLayer(name, layers)) {
        Fail(tensor.file, name, "the config has no part that it belongs to");
      }
      unused->push_back(name);
    }
    return status_;
  }
  int64_t bytes() const { return bytes_; }

 private:
  static bool IsOfLayer(std::string_view name, int32_t layers) {
    constexpr std::string_view kPrefix = "model.layers.";
    if (!name.starts_with(kPrefix)) return false;
    name.remove_prefix(kPrefix.size());
    int32_t layer;
    return absl::SimpleAtoi(absl::string_view(name.data(), std::min(name.find('.'), name.size())),
                            &layer) &&
           layer < layers;
  }

  HostTensor Take(const std::string& name, const std::vector<int64_t>& shape, int64_t rows,
                  int64_t columns) {
    const Checkpoint::Tensor* tensor = checkpoint_.Find(name);
    if (tensor == nullptr) {
      Fail(checkpoint_.listing(), name, "is missing");
      return {};
    }
    taken_.insert(name);
    const absl::StatusOr<HostTensor> view = TensorOf(*tensor, name, shape, rows, columns);
    status_.Update(view.status());
    if (!view.ok()) return {};
    bytes_ += tensor->stored.bytes.size();
    return *view;
  }

  void Fail(const std::string& file, const std::string& tensor, const std::string& why) {
    status_.Update(absl::InvalidArgumentError(absl::StrCat(file, ": tensor ", tensor, ": ", why)));
  }

  const Checkpoint& checkpoint_;
  std::set<std::string, std::less<>> taken_;
  int64_t bytes_ = 0;
  absl::Status status_;
};

// Gate and up, two matrices or one with the rows of both.
std::vector<HostTensor> FindGateUp(const std::string& prefix, const RetNetConfig& config,
                                   Finder& finder) {
  const int64_t hidden = config.hidden_size;
  const int64_t rows = config.intermediate_size;
  const std::string gate_name = absl::StrCat(prefix, config.layout->mlp_gate);
  const std::string up_name = absl::StrCat(prefix, config.layout->mlp_up);
  if (finder.Has(up_name) || !finder.HasRows(gate_name, 2 * rows)) {
    return {finder.Matrix(gate_name, rows, hidden), finder.Matrix(up_name, rows, hidden)};
  }
  HostTensor gate = finder.Matrix(gate_name, 2 * rows, hidden);
  gate.rows = rows;
  HostTensor up = gate;
  if (gate.data != nullptr) up.data = gate.row(rows);
  return {gate, up};
}

LayerWeights FindLayer(const std::string& prefix, const RetNetConfig& config, Finder& finder) {
  const Layout& layout = *config.layout;
  const int64_t hidden = config.hidden_size;
  const int64_t values = int64_t{config.heads} * config.value_dim;
  const auto matrix = [&](const char* name, int64_t rows, int64_t columns) {
    return finder.Matrix(absl::StrCat(prefix, name), rows, columns);
  };
  LayerWeights layer;
  layer.retention_norm = finder.Vector(absl::StrCat(prefix, layout.retention_norm), hidden);
  layer.projections = {matrix(layout.query, int64_t{config.heads} * config.key_dim, hidden),
                       matrix(layout.key, int64_t{config.kv_heads} * config.key_dim, hidden),
                       matrix(layout.value, int64_t{config.kv_heads} * config.value_dim, hidden)};
  if (layout.rotates_neighbours) {
    layer.projections[0].interleaved_rows = config.key_dim;
    layer.projections[1].interleaved_rows = config.key_dim;
  }
  if (config.gated) layer.projections.push_back(matrix(layout.gate, values, hidden));
  if (config.head_norm_weight) {
    const std::string first = absl::StrCat(prefix, layout.head_norm[0]);
    const std::string second = absl::StrCat(prefix, layout.head_norm[1]);
    layer.head_norm = finder.Vector(finder.Has(first) ? first : second, config.value_dim);
  }
  layer.output = matrix(layout.output, hidden, values);
  layer.mlp_norm = finder.Vector(absl::StrCat(prefix, layout.mlp_norm), hidden);
  layer.gate_up = FindGateUp(prefix, config, finder);
  layer.down = matrix(layout.down, hidden, config.intermediate_size);
  return layer;
}

}  // namespace

absl::StatusOr<HostTensor> TensorOf(const Checkpoint::Tensor& tensor, const std::string& name,
                                    const std::vector<int64_t>& shape, int64_t rows,
                                    int64_t columns) {
  const auto refuse = [&](const std::string& why) {
    return absl::InvalidArgumentError(absl::StrCat(tensor.file, ": tensor ", name, ": ", why));
  };
  const StoredTensor& stored = tensor.stored;
  const std::optional<ElementType> type = ParseType(stored.type);
  if (!type.has_value()) {
    return refuse(absl::StrCat("dtype ", stored.type, "; supported: F32, F16, BF16"));
  }
  if (stored.shape != shape) {
    return refuse(absl::StrCat("shape [", absl::StrJoin(stored.shape, ", "),
                               "], the config needs [", absl::StrJoin(shape, ", "), "]"));
  }
  return HostTensor{.type = *type, .data = stored.bytes.data(), .rows = rows, .columns = columns};
}

absl::StatusOr<ModelWeights> FindWeights(const Checkpoint& checkpoint, const RetNetConfig& config) {
  const Layout& layout = *config.layout;
  Finder finder(checkpoint);
  const int64_t hidden = config.hidden_size;
  ModelWeights weights;
  weights.embeddings = finder.Matrix(layout.embeddings, config.vocab_size, hidden);
  if (config.embeddings_norm || finder.Has(layout.embeddings_norm)) {
    weights.embeddings_norm = finder.Vector(layout.embeddings_norm, hidden);
  }
  for (int32_t i = 0; i < config.layers; ++i) {
    weights.layers.push_back(FindLayer(LayerPrefix(i), config, finder));
  }
  weights.norm = finder.Vector(layout.norm, hidden);
  if (config.tied) {
    finder.Ignore(layout.head);  // some files also store the embeddings under this name
  } else {
    weights.head = finder.Matrix(layout.head, config.vocab_size, hidden);
  }
  for (const char* buffer : {layout.angles, layout.log_decays}) {
    if (buffer != nullptr) finder.Ignore(buffer);
  }
  RETURN_IF_ERROR(finder.Finish(config.layers, &weights.unused));
  weights.stored_bytes = finder.bytes();
  return weights;
}

std::vector<float> ToFloats(const HostTensor& tensor) {
  std::vector<float> floats(tensor.rows * tensor.columns);
  for (size_t i = 0; i < floats.size(); ++i) floats[i] = ElementAt(tensor, i);
  return floats;
}

}  // namespace retnet
