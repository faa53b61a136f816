// Finds the weights of a RetNet by name in a checkpoint and checks their shapes against the config.
#ifndef RETNET_MODELS_WEIGHTS_H_
#define RETNET_MODELS_WEIGHTS_H_

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "kernels/tensor.h"
#include "models/checkpoint.h"
#include "models/config.h"

namespace retnet {

// The weights of one layer. Matrices are [outputs, inputs].
struct LayerWeights {
  HostTensor retention_norm;            // [1, hidden]
  std::vector<HostTensor> projections;  // q, k, v and, if gated, g; each [its channels, hidden]
  std::optional<HostTensor> head_norm;  // [1, value_dim]
  HostTensor output;                    // [hidden, heads · value_dim]
  HostTensor mlp_norm;                  // [1, hidden]
  std::vector<HostTensor> gate_up;      // gate, up; each [intermediate, hidden]
  HostTensor down;                      // [hidden, intermediate]
};

// Views into the checkpoint, which must outlive this.
struct ModelWeights {
  HostTensor embeddings;                      // [vocabulary, hidden]
  std::optional<HostTensor> embeddings_norm;  // [1, hidden]
  std::vector<LayerWeights> layers;
  HostTensor norm;                  // [1, hidden]
  std::optional<HostTensor> head;   // [vocabulary, hidden]; nullopt if tied
  int64_t stored_bytes = 0;         // of all weights
  std::vector<std::string> unused;  // tensors that the model does not use
  // Called with each tensor after Fingerprint or DeviceWeights::Pack has read it. May be empty.
  std::function<void(const HostTensor&)> on_read;

  void Read(const HostTensor& tensor) const {
    if (on_read) on_read(tensor);
  }
};

// The tensor as a matrix. INVALID_ARGUMENT, naming the file and the tensor, unless it has this
// shape and a supported type.
absl::StatusOr<HostTensor> TensorOf(const Checkpoint::Tensor& tensor, const std::string& name,
                                    const std::vector<int64_t>& shape, int64_t rows,
                                    int64_t columns);

// Finds the weights by the names of config.layout. INVALID_ARGUMENT if a tensor is missing, has a
// wrong shape or an unsupported type, or belongs to a layer but to no part of it. The error names
// the file and the tensor. The rotary inv_freq buffers of older files are not called unused.
absl::StatusOr<ModelWeights> FindWeights(const Checkpoint& checkpoint, const RetNetConfig& config);

// The elements of a tensor as fp32, row by row. Exact for every ElementType.
std::vector<float> ToFloats(const HostTensor& tensor);

}  // namespace retnet

#endif  // RETNET_MODELS_WEIGHTS_H_
