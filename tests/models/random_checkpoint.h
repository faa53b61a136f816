// Writes small checkpoints of any shape, with random weights, in the format of the published ones.
#ifndef RETNET_TESTS_MODELS_RANDOM_CHECKPOINT_H_
#define RETNET_TESTS_MODELS_RANDOM_CHECKPOINT_H_

#include <cstdint>
#include <string>

#include "kernels/tensor.h"

namespace retnet {

struct CheckpointShape {
  std::string config;  // the text of config.json
  ElementType type = ElementType::kFloat32;
  bool embeddings_norm = false;
  uint32_t seed = 1;
};

// A folder of its own below the test's temporary one, with config.json and model.safetensors.
std::string WriteRandomCheckpoint(const CheckpointShape& shape);
// An empty folder of its own.
std::string MakeTemporaryFolder();

}  // namespace retnet

#endif  // RETNET_TESTS_MODELS_RANDOM_CHECKPOINT_H_
