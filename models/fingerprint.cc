#include "models/fingerprint.h"

#include <xxhash.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "absl/strings/str_cat.h"
#include "kernels/element.h"
#include "kernels/finite.h"

namespace retnet {
namespace {

class Hasher {
 public:
  explicit Hasher(const ModelWeights& weights) : weights_(weights), state_(XXH3_createState()) {
    XXH3_64bits_reset(state_.get());
  }

  // The first tensor that has a number which is not finite, and where.
  struct NotFinite {
    HostTensor tensor;  // without data: none
    int64_t element = 0;
  };
  const NotFinite& not_finite() const { return not_finite_; }
  uint64_t digest() const { return XXH3_64bits_digest(state_.get()); }

  template <typename T>
  void Number(T value) {
    Bytes(&value, sizeof(value));
  }
  // The length comes first, so that different lists of lists give different bytes.
  template <typename T>
  void Numbers(const std::vector<T>& values) {
    Number(int64_t{static_cast<int64_t>(values.size())});
    Bytes(values.data(), values.size() * sizeof(T));
  }
  void Tensor(const HostTensor& tensor) {
    Number(static_cast<int32_t>(tensor.type));
    Number(tensor.rows);
    Number(tensor.columns);
    // Absent where rows are in order: so checkpoints keep the fingerprint that their snapshots have.
    if (tensor.interleaved_rows != 0) Number(tensor.interleaved_rows);
    // In blocks that the second look at finds in the processor's cache.
    constexpr size_t kBlock = size_t{1} << 16;
    const std::span all(tensor.data, tensor.rows * tensor.columns * SizeOf(tensor.type));
    for (size_t first = 0; first < all.size(); first += kBlock) {
      const auto block = all.subspan(first, std::min(kBlock, all.size() - first));
      Bytes(block.data(), block.size());
      if (not_finite_.tensor.data != nullptr) continue;
      if (const auto found = FindNotFinite(block, tensor.type)) {
        not_finite_ = {tensor, static_cast<int64_t>(first / SizeOf(tensor.type)) + *found};
        not_finite_.tensor.interleaved_rows = 0;  // the element is counted as it is stored
      }
    }
    weights_.Read(tensor);
  }
  void Tensors(const std::vector<HostTensor>& tensors) {
    Number(int64_t{static_cast<int64_t>(tensors.size())});
    for (const HostTensor& tensor : tensors) Tensor(tensor);
  }
  void Optional(const std::optional<HostTensor>& tensor) {
    Number(int32_t{tensor.has_value()});
    if (tensor) Tensor(*tensor);
  }

 private:
  struct Free {
    void operator()(XXH3_state_t* state) const { XXH3_freeState(state); }
  };

  void Bytes(const void* data, size_t size) {
    if (size > 0) XXH3_64bits_update(state_.get(), data, size);
  }

  const ModelWeights& weights_;
  const std::unique_ptr<XXH3_state_t, Free> state_;
  NotFinite not_finite_;
};

void AddConfig(const RetNetConfig& config, Hasher& hasher) {
  for (const int32_t size :
       {config.vocab_size, config.hidden_size, config.layers, config.heads, config.kv_heads,
        config.key_dim, config.value_dim, config.intermediate_size,
        static_cast<int32_t>(config.mlp_activation), int32_t{config.head_norm_weight},
        int32_t{config.gated}, int32_t{config.tied}}) {
    hasher.Number(size);
  }
  hasher.Number(config.norm_epsilon);
  hasher.Number(config.embedding_multiplier);
  hasher.Numbers(config.theta);
  hasher.Numbers(config.decay);
  // Absent where it is false: so checkpoints keep the fingerprint that their snapshots have.
  if (config.normalized) hasher.Number(int32_t{1});
}

absl::Status Refusal(const Checkpoint& checkpoint, const Hasher::NotFinite& found) {
  for (const auto& [name, tensor] : checkpoint.tensors()) {
    const auto first = found.tensor.data - tensor.stored.bytes.data();
    if (first < 0 || first >= std::ssize(tensor.stored.bytes)) continue;
    const int64_t element = first / static_cast<int64_t>(SizeOf(found.tensor.type)) + found.element;
    return absl::InvalidArgumentError(
        absl::StrCat(tensor.file, ": tensor ", name, ": element ", element, " is ",
                     ElementAt(found.tensor, found.element),
                     "; every weight must be finite, so the file is damaged or its conversion "
                     "overflowed"));
  }
  return absl::InternalError("a weight that is not of the checkpoint is not finite");
}

}  // namespace

absl::StatusOr<uint64_t> Fingerprint(const RetNetConfig& config, const Checkpoint& checkpoint,
                                     const ModelWeights& weights) {
  Hasher hasher(weights);
  AddConfig(config, hasher);
  hasher.Tensor(weights.embeddings);
  hasher.Optional(weights.embeddings_norm);
  for (const LayerWeights& layer : weights.layers) {
    hasher.Tensor(layer.retention_norm);
    hasher.Tensors(layer.projections);
    hasher.Optional(layer.head_norm);
    hasher.Tensor(layer.output);
    hasher.Tensor(layer.mlp_norm);
    hasher.Tensors(layer.gate_up);
    hasher.Tensor(layer.down);
  }
  hasher.Tensor(weights.norm);
  hasher.Optional(weights.head);
  if (hasher.not_finite().tensor.data != nullptr) return Refusal(checkpoint, hasher.not_finite());
  return hasher.digest();
}

}  // namespace retnet
