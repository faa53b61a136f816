// A checkpoint folder as a model: its config, and its weights where the files are mapped.
#ifndef RETNET_MODELS_STORED_MODEL_H_
#define RETNET_MODELS_STORED_MODEL_H_

#include <string>

#include "absl/status/statusor.h"
#include "models/checkpoint.h"
#include "models/config.h"
#include "models/weights.h"

namespace retnet {

struct StoredModel {
  Checkpoint checkpoint;
  RetNetConfig config;
  ModelWeights weights;  // views into the checkpoint
};

// INVALID_ARGUMENT for a folder whose model cannot be run exactly. The error names the file and the
// key or tensor, or the layout where it is one that is not served.
absl::StatusOr<StoredModel> OpenStoredModel(const std::string& directory);

}  // namespace retnet

#endif  // RETNET_MODELS_STORED_MODEL_H_
