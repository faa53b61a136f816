// A RetNet's weights found by name in a checkpoint, with the shapes that its config demands.
#ifndef RETNET_MODELS_WEIGHTS_H_
#define RETNET_MODELS_WEIGHTS_H_

#include <optional>
#include <vector>

#include "absl/status/statusor.h"
#include "kernels/tensor.h"
#include "models/checkpoint.h"
#include "models/config.h"

namespace retnet {

// One block. Matrices are [outputs, inputs].
struct LayerWeights {
  HostTensor retention_norm;            // [1, hidden]
  std::vector<HostTensor> projections;  // q, k, v and, when gated, g; each [its channels, hidden]
  std::optional<HostTensor> head_norm;  // [1, value_dim]
  HostTensor output;                    // [hidden, heads · value_dim]
  HostTensor mlp_norm;                  // [1, hidden]
  std::vector<HostTensor> gate_up;      // gate, up; each [intermediate, hidden]
  HostTensor down;                      // [hidden, intermediate]
};

// Views into the checkpoint, which must outlive them.
struct ModelWeights {
  HostTensor embeddings;                      // [vocabulary, hidden]
  std::optional<HostTensor> embeddings_norm;  // [1, hidden]
  std::vector<LayerWeights> layers;
  HostTensor norm;                 // [1, hidden]
  std::optional<HostTensor> head;  // [vocabulary, hidden]; none when tied
  int64_t stored_bytes = 0;        // of all of them
};

// INVALID_ARGUMENT naming file and tensor for one that is missing, misshapen, of a type that is not
// run, or of a part that this model does not have. Rotary inv_freq buffers, which older files hold,
// are ignored.
absl::StatusOr<ModelWeights> FindWeights(const Checkpoint& checkpoint, const RetNetConfig& config);

// The elements of a tensor in fp32, row by row; exact for every ElementType.
std::vector<float> ToFloats(const HostTensor& tensor);

}  // namespace retnet

#endif  // RETNET_MODELS_WEIGHTS_H_
