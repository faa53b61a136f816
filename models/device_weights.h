// The weights of a RetNet in the format of one backend, packed once at load.
#ifndef RETNET_MODELS_DEVICE_WEIGHTS_H_
#define RETNET_MODELS_DEVICE_WEIGHTS_H_

#include <cstdint>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "kernels/kernels.h"
#include "kernels/status_macros.h"
#include "models/weights.h"

namespace retnet {

template <Kernels K>
struct DeviceWeights {
  using Weight = typename K::Weight;
  using Buffer = typename K::Buffer;

  struct Layer {
    Buffer retention_norm;            // [hidden]
    Weight projections;               // [shape.ProjectionColumns(), hidden]
    std::optional<Buffer> head_norm;  // [value_dim]
    Weight output;                    // [hidden, shape.OutputColumns()]
    Buffer mlp_norm;                  // [hidden]
    Weight gate_up;                   // [2 · intermediate, hidden]
    Weight down;                      // [hidden, intermediate]
  };

  Weight embeddings;                      // [vocabulary, hidden]
  std::optional<Buffer> embeddings_norm;  // [hidden]
  std::vector<Layer> layers;
  Buffer norm;                 // [hidden]
  std::optional<Weight> head;  // [vocabulary, hidden]; nullopt: the embeddings are used

  const Weight& output_projection() const { return head.has_value() ? *head : embeddings; }

  // Device memory of the matrices. That of the norms is negligible.
  int64_t bytes() const;

  // Errors are those of Kernels::Pack and Upload. `weights` are not needed afterwards.
  static absl::StatusOr<DeviceWeights> Pack(K& kernels, const ModelWeights& weights);
};

template <Kernels K>
int64_t DeviceWeights<K>::bytes() const {
  int64_t bytes = embeddings.bytes() + (head.has_value() ? head->bytes() : 0);
  for (const Layer& layer : layers) {
    bytes += layer.projections.bytes() + layer.output.bytes() + layer.gate_up.bytes() +
             layer.down.bytes();
  }
  return bytes;
}

// Packs in the usual order of a file, so that the file is read from front to back.
template <Kernels K>
absl::StatusOr<DeviceWeights<K>> DeviceWeights<K>::Pack(K& kernels, const ModelWeights& weights) {
  absl::Status status;
  const auto pack = [&](std::span<const HostTensor> tensors) {
    auto packed = kernels.Pack(tensors);
    status.Update(packed.status());
    for (const HostTensor& tensor : tensors) weights.Read(tensor);
    return packed.ok() ? *std::move(packed) : Weight();
  };
  const auto pack_one = [&](const HostTensor& tensor) { return pack({&tensor, 1}); };
  const auto upload = [&](const HostTensor& tensor) {
    auto buffer = kernels.Upload(ToFloats(tensor));
    status.Update(buffer.status());
    weights.Read(tensor);
    return buffer.ok() ? *std::move(buffer) : Buffer();
  };

  DeviceWeights packed;
  packed.embeddings = pack_one(weights.embeddings);
  if (weights.embeddings_norm.has_value()) {
    packed.embeddings_norm = upload(*weights.embeddings_norm);
  }
  for (const LayerWeights& layer : weights.layers) {
    Layer& to = packed.layers.emplace_back();
    to.retention_norm = upload(layer.retention_norm);
    to.projections = pack(layer.projections);
    if (layer.head_norm.has_value()) to.head_norm = upload(*layer.head_norm);
    to.output = pack_one(layer.output);
    to.mlp_norm = upload(layer.mlp_norm);
    to.gate_up = pack(layer.gate_up);
    to.down = pack_one(layer.down);
    RETURN_IF_ERROR(status);
  }
  packed.norm = upload(weights.norm);
  if (weights.head.has_value()) packed.head = pack_one(*weights.head);
  RETURN_IF_ERROR(status);
  return packed;
}

}  // namespace retnet

#endif  // RETNET_MODELS_DEVICE_WEIGHTS_H_
