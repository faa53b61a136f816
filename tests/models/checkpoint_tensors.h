// The tensors that a checkpoint of a config holds, in the order of the published files.
#ifndef RETNET_TESTS_MODELS_CHECKPOINT_TENSORS_H_
#define RETNET_TESTS_MODELS_CHECKPOINT_TENSORS_H_

#include <vector>

#include "models/config.h"
#include "tests/models/safetensors_writer.h"

namespace retnet {

std::vector<TensorHeader> CheckpointTensors(const RetNetConfig& config, ElementType type,
                                            bool embeddings_norm);

}  // namespace retnet

#endif  // RETNET_TESTS_MODELS_CHECKPOINT_TENSORS_H_
